"""The atlas as a reader meets it: opened from the file system in headless Chromium."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.fake_mined import CLASSES, CROP, DEAD, FEW, LAYERS, colours, write_mined
from zfnet_jax.names import fit
from zfnet_jax.runs import origins
from zfnet_jax.studies.features import atlas

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

SIDES = """[...document.querySelectorAll('.tile .picture, .winner .picture')]
    .filter((one) => one.checkVisibility())
    .map((one) => Math.round(one.getBoundingClientRect().width))"""
MAPS = sum(maps for maps, *_ in LAYERS.values())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an atlas of three checkpoints."""
    workdir = tmp_path_factory.mktemp("a run #1")  # characters that an address must escape
    folders = [write_mined(workdir, step=10 * epoch, epoch=epoch) for epoch in (1, 2, 8)]
    (workdir / "run.json").write_text(json.dumps(origins.record({"conv1": "Block1.Conv1"})))
    atlas.write_atlas(folders, workdir / "atlas", progress=False)
    return (workdir / "atlas" / "index.html").as_uri()


@pytest.fixture
def opened(chrome: Chrome, index: str) -> Iterator[Callable[[str], Page]]:
    """Opens the atlas at an address after #.

    Afterwards nothing may be in the console and nothing asked of the network.
    """

    def start(address: str) -> Page:
        chrome.get("about:blank")
        chrome.get(index + address)
        return pages.setdefault("page", Page(chrome))

    pages: dict[str, Page] = {}
    yield start
    assert chrome.get_log("browser") == []
    assert pages["page"].files()
    assert not [url for url in pages["page"].requests if url.startswith(("http", "ws"))]


class Page:
    """What a reader does with the page and sees on it."""

    def __init__(self, chrome: Chrome) -> None:
        self.chrome = chrome
        self.requests: list[str] = []

    def files(self) -> set[str]:
        """Names of the files that the page has asked for until now."""
        for entry in self.chrome.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        return {url.rsplit("/", 1)[-1] for url in self.requests}

    def js(self, expression: str) -> Any:
        return self.chrome.execute_script(f"return {expression}")

    def wait(self, condition: str) -> None:
        self.until(lambda _: self.js(condition), condition)

    def wait_for_file(self, name: str) -> None:
        self.until(lambda _: name in self.files(), name)

    def until(self, holds: Callable[[Any], bool], what: str) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.chrome, 10, 0.05).until(holds, what)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains, Keys

        for key in keys:
            sent = getattr(Keys, key) if len(key) > 1 else key
            ActionChains(self.chrome).send_keys(sent).perform()

    def one(self, selector: str) -> Any:
        return self.chrome.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return self.chrome.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({selector!r}).textContent")

    def maps(self, layer: str) -> list[int]:
        """Numbers of the maps shown, in their order."""
        return self.js(
            f"[...document.querySelectorAll('#layer-{layer} .tile b')]"
            ".filter((one) => one.checkVisibility()).map((one) => Number(one.textContent))"
        )

    def search(self, text: str) -> None:
        """Types a query; what the keyboard does not have comes by script."""
        box = self.one("#search")
        box.clear()
        self.chrome.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
            box,
            text,
        )

    def sort(self, order: str) -> None:
        self.one(f"#sort option[value={order}]").click()

    def pixels(self, element: Any) -> np.ndarray:
        """What an element looks like, [H, W, 3]."""
        picture = Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB")
        return np.asarray(picture, int)

    @property
    def address(self) -> str:
        return self.js("location.hash")


def test_the_overview_shows_every_map_and_loads_pictures_as_they_come_into_view(opened):
    page = opened("")
    page.wait(f"document.querySelectorAll('.tile').length === {MAPS}")
    assert page.maps("conv2") == list(range(40))
    assert "40 maps, each unit sees 100 \u00d7 100 pixels, 1 dead" in page.text("#layer-conv2")
    page.wait("document.querySelector('.tile .picture').style.getPropertyValue('--projection')")
    page.wait_for_file("conv1-projection-0.webp")
    assert not {"conv1-patch-0.webp", "10.js"} & page.files()  # nor other epochs
    assert not [url for url in page.requests if "/photos/" in url]
    dead = page.js("[...document.querySelectorAll('.tile.dead b')].map((one) => one.textContent)")
    assert dead == [str(DEAD)] * len(LAYERS)
    page.press("p")
    page.wait_for_file("conv1-patch-0.webp")


@pytest.mark.parametrize(("layer", "number"), [("conv1", 5), ("conv2", 0), ("conv2", 37)])
def test_pictures_on_the_screen_are_those_of_the_map(opened, layer, number):
    wanted = colours(layer)[number].astype(int)
    page = opened(f"#{layer}/{number}")
    page.wait_for_file(f"{layer}-patch-{number // 32}.webp")
    pictures = page.all("[data-kind=patch] .picture")

    def winners_look_right(_: Any) -> bool:
        shown = [page.pixels(one) for one in pictures]
        return np.abs([p[len(p) // 2, len(p) // 2] for p in shown] - wanted).max() < 12

    page.until(winners_look_right, "the nine winners")
    page.press("ESCAPE", "p")

    def tile_looks_right(_: Any) -> bool:
        tile = page.pixels(page.all(f"#layer-{layer} .tile .picture")[number])
        centres = [round(len(tile) * (1 + 2 * k) / 6) for k in range(3)]
        return np.abs(tile[centres][:, centres].reshape(9, 3) - wanted).max() < 12

    page.until(tile_looks_right, "the tile in the overview")


def test_names_from_the_data_are_text(opened):
    page = opened("#conv2/5")
    page.wait("document.querySelectorAll('.winner').length === 18")
    assert page.js("document.querySelectorAll('#detail b script, #detail i').length") == 0
    assert page.js("document.querySelectorAll('script').length") == 6  # the page's own
    names = page.js(
        "[...document.querySelectorAll('[data-kind=patch] .winner')].map((w) => w.title)"
    )
    assert names == [fit(CLASSES[(5 + k) % 5]) for k in range(9)]
    assert page.text(".brand span") == "a <run> & 'more'"
    assert page.js("document.title") == "Feature atlas of a <run> & 'more'"


def test_search_finds_maps_by_number_layer_and_class(opened):
    page = opened("")
    page.search("12")  # a number, and the name of class 3
    class_3 = [m for m in range(40) if (m % 2 or m % 5 == 3) and m not in (DEAD, FEW)]
    assert page.maps("conv2") == sorted({12, *class_3})
    page.search("17")
    assert (page.maps("conv1"), page.maps("conv2")) == ([], [17])
    page.search("conv1 2")
    assert (page.maps("conv1"), page.maps("conv2")) == ([2], [])
    page.search("block1.conv1 2")  # where the net comes from
    assert (page.maps("conv1"), page.maps("conv2")) == ([2], [])
    assert page.text("#layer-conv1 h2") == "conv1 (Block1.Conv1)"
    page.search("TENCH")
    assert page.maps("conv2") == [
        m for m in range(40) if m not in (DEAD, FEW) and (m % 2 or m % 5 == 0)
    ]
    page.search("<b>&\"'")
    assert page.maps("conv2") == [
        m for m in range(40) if m not in (DEAD, FEW) and (m % 2 or m % 5 == 1)
    ]
    page.search("no such class")
    assert page.one("#nothing").is_displayed()
    page.press("/", "ESCAPE")
    assert page.maps("conv2") == list(range(40))


def test_maps_sort_by_strength_and_by_class_purity(opened):
    page = opened("")
    page.sort("strength")
    assert page.maps("conv2") == [m for m in range(39, -1, -1) if m != DEAD] + [DEAD]
    page.sort("purity")
    order = page.maps("conv2")
    pure = [m for m in range(38, -1, -2) if m != FEW]
    assert order[: len(pure) + 1] == [*pure, FEW]  # all of one class; fewer winners say less
    assert order[-1] == DEAD
    assert page.text("#layer-conv2 .tile p").startswith(f"38{9}/9 {CLASSES[3]}")
    page.sort("number")
    assert page.maps("conv2") == list(range(40))


def test_a_deep_link_opens_a_map_at_its_epoch(opened):
    page = opened("#conv2/7/epoch=2")
    page.wait("document.querySelectorAll('.winner').length === 18")
    assert page.text("#detail h2") == "conv2 / map 7"
    assert "Strongest activation 28," in page.text(".facts")  # 1 + 7 + step 20
    assert page.text("#epoch-name") == "epoch 2"
    assert not page.one("#overview").is_displayed()
    page.wait("document.querySelector('.source image').getBBox().width > 0")
    # The box is the receptive field: the start of the field and its jump, at the unit's position.
    row, column = page.js("ATLAS.winners[20].conv2.position[7][0]")
    _, size, jump, start = LAYERS["conv2"]
    box = page.js(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('.box').getBBox())"
    )
    assert box == [start + jump * column, start + jump * row, size, size]
    # The photo fills its place, however much of the field lies outside of it.
    assert page.js("document.querySelector('.source svg').getAttribute('viewBox')") == (
        f"0 0 {CROP} {CROP}"
    )


def test_the_strip_of_a_map_names_the_epochs_at_which_it_is_dead(opened):
    page = opened(f"#conv1/{DEAD}/epoch=8")
    page.wait("document.querySelectorAll('.strip a.dead').length === 3")
    page = opened("#conv1/1")
    page.wait("document.querySelectorAll('.strip a:not(.dead)').length === 3")


def test_a_dead_map_and_one_of_few_winners_have_pages(opened):
    page = opened(f"#conv1/{DEAD}/epoch=8")
    page.wait("document.querySelector('.facts')")
    assert page.text(".facts") == "Dead: no image activates this map at epoch 8."
    page = opened(f"#conv1/{FEW}")
    page.wait("document.querySelectorAll('.winner').length === 4")


@pytest.mark.parametrize(
    ("address", "missing"),
    [
        ("#conv9/1", "layer conv9"),
        ("#conv1/6", "map 6 in conv1"),
        ("#conv1/x", "map x in conv1"),
        ("#conv1/1/epoch=3", "epoch 3"),
        ("#<img src=x onerror=alert(1)>", "<img src x onerror=alert(1)>"),
    ],
)
def test_a_link_to_what_is_not_there_says_so(opened, address, missing):
    page = opened(address)
    page.wait("!document.getElementById('notice').hidden")
    assert page.text("#notice") == f"This atlas has no {missing}."
    assert page.one("#overview").is_displayed()


def test_the_epoch_slider_changes_what_is_shown(opened):
    page = opened("#conv1/2/epoch=8")
    page.wait("document.querySelector('.facts')")
    assert "Strongest activation 83," in page.text(".facts")
    page.one("#epoch").send_keys("\ue012")  # the slider's own left arrow
    page.wait("location.hash === '#conv1/2/epoch=2'")
    page.wait("document.querySelector('.facts').textContent.includes('activation 23,')")
    page.press("TAB", "[")
    page.wait("document.querySelector('.facts').textContent.includes('activation 13,')")
    assert page.address == "#conv1/2/epoch=1"
    picture = page.js("document.querySelector('.winner .picture').style.cssText")
    assert "sprites/10/conv1-projection-0.webp" in picture
    strip = page.js("[...document.querySelectorAll('.strip a')].map((one) => one.hash)")
    assert strip == [f"#conv1/2/epoch={epoch}" for epoch in (1, 2, 8)]
    page.one(".strip li:last-child a").click()
    page.wait("document.querySelector('.facts').textContent.includes('activation 83,')")


def test_the_keyboard_is_enough(opened):
    page = opened("#conv2/1/epoch=8")
    page.wait("document.querySelector('.facts')")
    page.press("ARROW_RIGHT")
    page.wait("document.querySelector('#detail h2').textContent === 'conv2 / map 2'")
    page.press("ARROW_LEFT", "ARROW_LEFT", "ARROW_LEFT")  # the first map has none before it
    page.wait("document.querySelector('#detail h2').textContent === 'conv2 / map 0'")
    page.press("ESCAPE")
    page.wait("document.getElementById('detail').hidden")
    assert page.js("document.activeElement.getAttribute('href')") == "#conv2/0/epoch=8"
    page.press("ARROW_RIGHT", "ARROW_RIGHT", "ENTER")
    page.wait("document.querySelector('#detail h2')?.textContent === 'conv2 / map 2'")
    page.press("p")
    assert page.js("document.body.classList.contains('patches')")
    page.press("/")
    assert page.js("document.activeElement.id") == "search"
    page.press("3", "9")
    page.wait("document.getElementById('detail').hidden")
    assert page.maps("conv2") == [39]
    assert page.js("document.activeElement.id") == "search"
    page.press("p")  # in the search box a letter is a letter
    assert page.js("document.body.classList.contains('patches')")


def test_arrows_follow_the_order_that_is_shown(opened):
    page = opened("")
    page.sort("strength")
    page.one("#layer-conv2 .tile").click()
    page.wait("document.querySelector('#detail h2')?.textContent === 'conv2 / map 39'")
    page.press("ARROW_RIGHT")
    page.wait("document.querySelector('#detail h2').textContent === 'conv2 / map 38'")


def test_going_back_returns_to_the_place_one_left(opened):
    page = opened("")
    page.chrome.execute_script("window.scrollTo(0, 500)")
    page.one("#layer-conv2 .tile:nth-child(25)").click()
    page.wait("!document.getElementById('detail').hidden")
    there = page.js("window.scrollY")
    assert there == 0
    page.chrome.back()
    page.wait("document.getElementById('detail').hidden")
    assert page.js("window.scrollY") == pytest.approx(500, abs=200)


@pytest.mark.parametrize("address", ["", "#conv2/5"])
def test_on_a_phone_nothing_is_wider_than_the_screen(opened, chrome, address):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page = opened(address)
        page.wait("document.querySelector('.tile')")
        assert page.js("document.documentElement.scrollWidth") == 390
        for selector in ("#search", "#patches", "#theme", "#epoch"):
            assert page.one(selector).is_displayed()
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_on_a_phone_every_layer_of_a_deep_net_can_be_reached(opened, chrome):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page = opened("")
        chrome.execute_script(
            "for (let n = 3; n <= 16; n++) { const link = $('layers').lastChild.cloneNode();"
            " link.textContent = `conv${n}`; $('layers').append(link); }"
            "$('layers').lastChild.scrollIntoView({ inline: 'nearest' })"
        )
        assert page.js("document.documentElement.scrollWidth") == 390
        bar, last = (
            page.js(f"(r => [r.left, r.right, r.height])({node}.getBoundingClientRect())")
            for node in ("$('layers')", "$('layers').lastChild")
        )
        assert bar[0] <= last[0] < last[1] <= bar[1] <= 390
        assert bar[2] < 40
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
DESKTOP = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}


def test_a_thousand_classes_of_long_names_leave_all_in_its_place(chrome, tmp_path):
    """Names of 200 letters in one word and in many, from the right and of other scripts."""
    kinds = ("x" * 200, "a word " * 28, "\u05e9\u05dc\u05d5\u05dd " * 40, "\u732b" * 200)
    classes = [f"{kinds[number % 4]}{number}" for number in range(1000)]
    mined = write_mined(tmp_path, step=10, epoch=1, classes=classes, run="a_run_" + "y" * 200)
    atlas.write_atlas([mined], tmp_path / "atlas", progress=False)
    page, address = Page(chrome), (tmp_path / "atlas" / "index.html").as_uri()
    try:
        for size in (DESKTOP, PHONE):
            chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            chrome.get("about:blank")
            chrome.get(address)
            page.wait(f"document.querySelectorAll('.tile').length === {MAPS}")
            plain = page.js(SIDES)
            page.sort("purity")  # names stand under the tiles
            assert page.js(SIDES) == plain
            assert page.js("document.documentElement.scrollWidth <= innerWidth")
            page.search(f"{'x' * 200}4")  # not the other names that begin so
            assert page.maps("conv2") == [4, 1]
            chrome.get(f"{address}#conv2/5")
            page.wait("document.querySelectorAll('.winner').length === 18")
            assert page.js("document.documentElement.scrollWidth <= innerWidth")
            sides = page.js(SIDES)
            assert len(set(sides)) == 1
            assert sides[0] > (85 if size is DESKTOP else 100)
            chips = page.js("[...document.querySelectorAll('.chips button')].map((b) => b.title)")
            assert chips == [f"All maps with {fit(classes[number])}" for number in range(5, 14)]
        assert chrome.get_log("browser") == []
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_and_light_follow_the_system_and_the_button(opened, chrome):
    ground = "getComputedStyle(document.body).backgroundColor"
    try:
        for theme, expected in [("dark", "rgb(18, 18, 18)"), ("light", "rgb(255, 255, 255)")]:
            wish = [{"name": "prefers-color-scheme", "value": theme}]
            chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish})
            page = opened("")
            assert page.js(ground) == expected
        page.one("#theme").click()
        assert page.js(ground) == "rgb(18, 18, 18)"
    finally:
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
