"""The page as a person meets it: in headless Chromium, before a server with a small net."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uvicorn

from tests.explore.conftest import png
from zfnet_jax.explore.server import Server

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
# Drops a file on the page, as a person does.
DROP = """
const [name, type, data] = arguments;
const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], name, { type }));
const how = { dataTransfer, bubbles: true, cancelable: true };
document.body.dispatchEvent(new DragEvent("drop", how));
"""
# A camera that is given when `allow` is called.
LATE_CAMERA = """
const camera = new MediaStream();
camera.getTracks = () => [{ stop: () => (window.stopped = (window.stopped ?? 0) + 1) }];
navigator.mediaDevices.getUserMedia = () =>
  new Promise((resolve) => (window.allow = () => resolve(camera)));
"""
# Jobs that end in another order than they came in; what each of two kinds of slots shows of them.
OVERTAKEN = """
const done = arguments[arguments.length - 1];
import("/page/api.js").then(async ({ Newest }) => {
  const shown = { newest: [], live: [] };
  for (const kind of ["newest", "live"]) {
    const slot = new Newest(kind, () => {}, { live: kind === "live" });
    const job = (n, wait) => () => new Promise((resolve) =>
      setTimeout(() => resolve(() => shown[kind].push(n)), wait));
    const jobs = [slot.run(job(1, 40)), slot.run(job(2, 20)), slot.run(job(3, 0))];
    await Promise.all(jobs);
  }
  done(shown);
});
"""


@pytest.fixture(scope="module")
def address(server: Server) -> Iterator[str]:
    """Where the server answers, in a thread of its own."""
    config = uvicorn.Config(server.app, log_level="warning", lifespan="on")
    served = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        thread = threading.Thread(target=served.run, kwargs={"sockets": [bound]})
        thread.start()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
        served.should_exit = True
        thread.join(30)


@pytest.fixture
def page(chrome: Chrome, address: str) -> Iterator[Page]:
    """The page, opened. Afterwards nothing may be in the console, nor asked of anybody else."""
    one = Page(chrome, address)
    one.open("")
    yield one
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert [entry["message"] for entry in one.log if entry not in one.expected] == []
    urls = one.requests()
    assert urls
    assert [url for url in urls if not url.startswith((address, "blob:" + address, "data:"))] == []


class Page:
    """What a person does with the page and sees on it."""

    def __init__(self, chrome: Chrome, address: str) -> None:
        self.chrome, self.address = chrome, address
        chrome.get("about:blank")
        for log in ("browser", "performance"):
            chrome.get_log(log)
        self.log: list[Any] = []
        self.expected: list[Any] = []

    def open(self, fragment: str) -> None:
        self.chrome.get("about:blank")
        self.chrome.get(self.address + fragment)

    def js(self, expression: str) -> Any:
        return self.chrome.execute_script(f"return {expression}")

    def wait(self, condition: str) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.chrome, 60, 0.05).until(lambda _: self.js(condition), condition)

    def one(self, selector: str) -> Any:
        return self.chrome.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({selector!r})?.textContent ?? ''")

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def choose(self, select: str, value: str) -> None:
        self.one(f"{select} option[value='{value}']").click()

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains, Keys

        for key in keys:
            sent = getattr(Keys, key) if len(key) > 1 else key
            ActionChains(self.chrome).send_keys(sent).perform()

    def drop(self, name: str, kind: str, data: bytes) -> None:
        self.chrome.execute_script(DROP, name, kind, base64.b64encode(data).decode())

    def on_photo(self, *places: tuple[float, float]) -> None:
        """Presses the mouse at a place of the photo (shares of its width and height from the
        middle), drags it over the others and lets go."""
        from selenium.webdriver import ActionChains

        stage = self.one("#stage")
        size = stage.size
        offsets = [(round(x * size["width"]), round(y * size["height"])) for x, y in places]
        mouse = ActionChains(self.chrome, duration=20)
        mouse.move_to_element_with_offset(stage, *offsets[0]).click_and_hold()
        for offset in offsets[1:]:
            mouse.move_to_element_with_offset(stage, *offset)
        mouse.release().perform()

    def asked(self, path: str) -> Any:
        """What the server answers the page."""
        return self.chrome.execute_async_script(
            "fetch(arguments[0]).then((one) => one.json()).then(arguments[1])", f"/api/{path}"
        )

    def requests(self) -> list[str]:
        messages = (
            json.loads(one["message"])["message"] for one in self.chrome.get_log("performance")
        )
        return [
            one["params"]["request"]["url"]
            for one in messages
            if one["method"] == "Network.requestWillBeSent"
        ]

    def look_at_console(self) -> list[Any]:
        """New lines of the console."""
        new = self.chrome.get_log("browser")
        self.log += new
        return new

    @property
    def fragment(self) -> str:
        return self.js("location.hash")


UNIT = "document.querySelector('#units h2')?.textContent"
SHOWN = "document.querySelectorAll('#units figure img').length"
TILES = "[...document.querySelectorAll('#layer-conv1 .tile')]"


def test_a_walk(page: Page, face: np.ndarray):
    page.wait("document.querySelectorAll('#samples button').length === 6")  # one of the set's
    page.wait(f"{UNIT}?.startsWith('conv5 / map')")
    assert page.fragment.startswith("#sample=0&layer=conv5&map=")

    page.drop("face.png", "image/png", png(face))
    page.wait("location.hash.startsWith('#photo=') && document.querySelector('#answers .best')")
    photo = page.fragment.split("=")[1].split("&")[0]
    page.wait(f"{TILES}.length > 0")
    query = f"run=0&photo={photo}"
    classes = page.asked(f"answer?{query}")["classes"]
    best = f"document.querySelector('#answers .best bdi').textContent === '{classes[0]['name']}'"
    page.wait(best)
    bars = page.js(
        "[...document.querySelectorAll('#answers li bdi')].map((one) => one.textContent)"
    )
    assert bars == [one["name"] for one in classes[:8]]
    assert page.text("#photo-name") == "face.png"

    # A layer, then a map of it: strongest first; its unit, its winners.
    page.click("#layers button:first-child")
    strip = page.asked(f"strip?{query}&layer=conv1")["maps"]
    page.wait(
        f"{TILES}.map((one) => Number(one.querySelector('b').textContent)).join()"
        f" === '{','.join(str(one['map']) for one in strip)}'"
    )
    third = strip[2]
    page.click("#layer-conv1 .tile:nth-child(3)")
    page.wait(f"{UNIT} === 'conv1 / map {third['map']}'")
    assert f"row {third['row']}, column {third['column']}; number 3 of 8" in page.text(
        "#units .facts"
    )
    page.press("ARROW_LEFT")
    page.wait(f"{UNIT} === 'conv1 / map {strip[1]['map']}'")
    page.press("ARROW_DOWN", "ARROW_UP", "ARROW_RIGHT", "ARROW_RIGHT")
    page.wait(f"{UNIT} === 'conv1 / map {third['map']}'")
    unit = page.asked(f"unit?{query}&layer=conv1&map={third['map']}")
    page.wait(f"document.querySelectorAll('#winners .cell').length === {2 * len(unit['winners'])}")
    page.wait("document.querySelector('#marks .box')")

    # A place: the units that see it, of which the strongest is shown.
    page.on_photo((0.1, -0.2))
    page.wait("document.querySelectorAll('.seers button').length > 0")
    y, x = json.loads(f"[{page.fragment.split('place=')[1].split('&')[0]}]".replace("%2C", ","))
    found = page.asked(f"place?{query}&layer=conv1&y={y}&x={x}")
    listed = "[...document.querySelectorAll('.seers button')].map((one) => one.dataset.map).join()"
    page.wait(f"{listed} === '{','.join(str(one['map']) for one in found['units'])}'")
    page.wait(f"{UNIT} === 'conv1 / map {found['units'][0]['map']}'")
    page.wait(
        f"document.querySelector('#units .facts').textContent.includes("
        f"'row {found['row']}, column {found['column']};')"
    )

    # Another rule: the address says so, and back takes it back.
    before = page.fragment
    page.choose("#rule", "guided")
    page.wait(f"location.hash.includes('rule=guided') && {SHOWN} === 1")
    page.chrome.back()
    page.wait(
        f"location.hash === {before!r} && document.querySelector('#rule').value === 'deconvnet'"
    )
    page.chrome.forward()
    page.wait("document.querySelector('#rule').value === 'guided'")

    # The square, dragged: the answer under it and the map's activity.
    page.click("#square-on")
    page.on_photo((0, 0), (-0.2, 0.1), (0.2, 0.2))
    page.wait("document.querySelectorAll('#answers .bar-of b').length > 0")
    y, x, size = json.loads(f"[{page.fragment.split('square=')[1].split('&')[0]}]")
    number = found["units"][0]["map"]
    square = page.asked(f"square?{query}&layer=conv1&map={number}&y={y}&x={x}&size={size}")
    share = f"{100 * square['value'] / square['was']:.0f}%"
    page.wait(f"document.querySelector('#follow .share').textContent === {share!r}")

    # At every place: the map fills in.
    page.press("o")
    page.wait("document.querySelector('#reading').textContent.startsWith('Probability of')")
    page.wait(
        "document.querySelector('#progress').hidden && !document.querySelector('#covered').hidden"
    )
    page.press("o")
    page.wait("document.querySelector('#covered').hidden")

    # Saved; its link opens the same.
    page.click("#save")
    page.wait("document.querySelectorAll('#saved textarea').length >= 2")
    link, command = page.js(
        "[...document.querySelectorAll('#saved textarea')].map((one) => one.value)"
    )[:2]
    assert command.startswith("python -m scripts.")
    kept = page.text("#units .facts"), page.text("#follow .share"), page.text("#units h2")
    page.open(link.removeprefix(page.address))
    page.wait(
        f"document.querySelector('#follow .share')?.textContent === {share!r} && {SHOWN} === 1"
    )
    page.wait(f"document.querySelector('#units .facts').textContent === {kept[0]!r}")
    assert (page.text("#units .facts"), page.text("#follow .share"), page.text("#units h2")) == kept
    assert page.js("document.querySelector('#rule').value") == "guided"
    assert "view=" in page.fragment

    # Side by side: all rules.
    page.choose("#compare", "rules")
    page.wait(f"{SHOWN} === 3")

    # What is no photo is told beside the photos; all else stays.
    assert page.look_at_console() == []
    page.drop("page.html", "text/html", b"<html>")
    page.wait("!document.querySelector('#photo-trouble').hidden")
    assert "cannot read the photo" in page.text("#photo-trouble")
    page.expected += [one for one in page.look_at_console() if "/api/photos" in one["message"]]
    assert page.js(SHOWN) == 3

    # A phone: nothing is wider than it.
    page.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    page.wait("innerWidth === 390")
    assert page.js("document.documentElement.scrollWidth") == 390
    assert (
        page.js(
            "[...document.querySelectorAll('.layer')].filter((one) => one.checkVisibility()).length"
        )
        == 1
    )


def test_an_address_that_says_what_is_not_there_is_told(page: Page):
    page.open("#sample=3&layer=conv9&map=2&step=5&square=1,2")
    page.wait("!document.querySelector('#notice').hidden")
    assert page.text("#notice") == "There is no step 5, no layer conv9, no square 1,2 here."
    page.wait(f"{UNIT}?.startsWith('conv5 / map')")
    assert page.js("document.querySelector('#photo').naturalWidth") > 0
    page.open("#photo=0123456789abcdef")
    page.wait("!document.querySelector('#stage-trouble').hidden")
    assert "not here any more: send it again" in page.text("#stage-trouble")
    page.wait("document.querySelector('#busy').hidden")
    told = (
        "[...document.querySelectorAll('.trouble')].filter((one) => one.checkVisibility()).length"
    )
    assert page.js(told) == 1
    page.expected += [one for one in page.look_at_console() if "404" in one["message"]]


def test_a_photo_that_the_server_gave_up_is_sent_again(
    page: Page, server: Server, face: np.ndarray
):
    page.drop("face.png", "image/png", png(face))
    page.wait("location.hash.startsWith('#photo=') && document.querySelector('#answers .best')")
    page.wait("document.querySelectorAll('#units figure img').length === 1")
    photo = page.fragment.split("=")[1].split("&")[0]
    page.drop("other.png", "image/png", png(face[::-1].copy()))
    page.wait(f"!location.hash.includes({photo!r})")
    page.wait("document.querySelector('#busy').hidden")
    server.explorer.photos._kept._values.clear()
    server.explorer._seen._values.clear()
    page.chrome.back()
    page.wait(
        f"location.hash.includes({photo!r}) && document.querySelector('#stage-trouble').hidden"
    )
    page.wait("document.querySelector('#busy').hidden")
    page.wait(f"fetch('/api/photo.png?run=0&photo={photo}').then((one) => one.ok)")
    page.wait("[...document.querySelectorAll('.trouble')].every((one) => one.hidden)")

    # The crop is there still: strips, answers and units miss the photo.
    server.explorer.photos._kept._values.clear()
    server.explorer._seen._values.clear()
    page.chrome.execute_script(
        "const epoch = document.querySelector('#epoch'); epoch.value = 0;"
        "epoch.dispatchEvent(new Event('input'))"
    )
    page.wait("location.hash.includes('step=4')")
    page.wait(f"fetch('/api/photo.png?run=0&photo={photo}').then((one) => one.ok)")
    page.wait("document.querySelectorAll('.old').length === 0")
    page.wait("[...document.querySelectorAll('.trouble')].every((one) => one.hidden)")
    best = page.asked(f"answer?run=0&photo={photo}&step=4")["classes"][0]["name"]
    assert page.text("#answers .best bdi") == best

    # Nobody can bring it: that is told, once, and what is shown is seen to be old.
    page.look_at_console()
    page.open(page.fragment)  # the bytes are forgotten
    page.wait("document.querySelectorAll('#units figure img').length === 1")
    server.explorer.photos._kept._values.clear()
    server.explorer._seen._values.clear()
    page.press("]")
    page.wait("!document.querySelector('#stage-trouble').hidden")
    assert "not here any more: send it again" in page.text("#stage-trouble")
    page.wait("document.querySelector('#busy').hidden")
    assert page.js("document.querySelector('#answers .bars').classList.contains('old')")
    page.look_at_console()
    page.expected += [one for one in page.log if "404" in one["message"]]
    assert page.expected


def test_winners_and_fields_are_those_of_the_map(page: Page):
    page.open("#sample=0&layer=conv1&map=5")
    page.wait("document.querySelectorAll('#winners .cell').length === 2")  # one of three, twice
    across = "getComputedStyle(document.querySelector('#winners .grid')).getPropertyValue('--grid')"
    assert page.js(across) == "2"

    # A layer's own button, while its strongest map is shown: the field stays.
    page.wait(f"{TILES}.length > 0")
    page.click("#layer-conv1 .tile:first-child")
    strongest = page.text("#layer-conv1 .tile:first-child b")
    page.wait(f"{UNIT} === 'conv1 / map {strongest}' && document.querySelector('#marks .box')")
    page.wait("document.querySelector('#busy').hidden")
    page.click("#layers button:first-child")
    page.wait("document.querySelector('#marks .box')")


def test_a_view_of_an_unknown_name_is_told(page: Page):
    page.open("#view=a%2Fb")
    page.wait("!document.querySelector('#notice').hidden")
    page.expected += [one for one in page.look_at_console() if "404" in one["message"]]


def test_a_camera_that_is_allowed_too_late_is_switched_off(page: Page):
    page.chrome.execute_script(LATE_CAMERA)
    page.click("#camera")
    page.click("#camera-close")
    page.chrome.execute_script("window.allow()")
    page.wait("window.stopped === 1")
    assert page.text("#camera") == "Camera"


def test_late_answers_never_stand_over_newer_ones(page: Page):
    shown = page.chrome.execute_async_script(OVERTAKEN)
    assert shown == {"newest": [3], "live": [1, 3]}
