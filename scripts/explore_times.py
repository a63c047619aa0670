"""How long a person before the page of scripts.explore waits, in headless Chromium.

python -m scripts.explore_times --workdir=DIR [--times=10]

It starts scripts.explore in a process of its own, waits until all is compiled, then drops photos,
goes from map to map and drags the square; times are the page's own, from what the person did to
what is shown. Needs selenium, and Chromium with its chromedriver. Quiet machine, please.
"""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from absl import flags

from scripts.benchmarks.explore_process import started
from zfnet_jax.command import shell

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.", required=True)
_TIMES = flags.DEFINE_integer("times", 10, "How often each.", lower_bound=1)

# By the name of the page's measure: what it is of.
SHOWN = {
    "photo": "photo to answer and strips",
    "unit": "a unit's projection",
    "square": "the square's answer",
    "occlusion": "the whole occlusion map",
}
FLAGS = ("--headless=new", "--no-sandbox", "--window-size=1400,900")
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (one) => one.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], "photo.png", { type: "image/png" }));
document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
"""


def main() -> None:
    with started(_WORKDIR.value) as server, _opened() as chrome:
        _measure(chrome, f"http://{server.address}/")


@contextlib.contextmanager
def _opened() -> Iterator[Chrome]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver") or "")
    with webdriver.Chrome(options=options, service=service) as chrome:
        yield chrome


def _measure(chrome: Chrome, address: str) -> None:
    chrome.get(address)
    chrome.set_script_timeout(600)
    _rest(chrome)
    _drop(chrome, 0)
    for key in ("s", "o", "o", "s"):  # the square; everywhere
        _press(chrome, key)
    _time(chrome, "photo", lambda n: _drop(chrome, n + 1))
    _time(chrome, "unit", lambda _: _press(chrome, "ArrowRight"))
    _press(chrome, "s")
    _time(chrome, "square", lambda _: _move_square(chrome))
    _time(chrome, "occlusion", lambda _: _occlude(chrome))


def _time(chrome: Chrome, name: str, act: Callable[[int], None]) -> None:
    """Does something several times and prints what the page measured of it."""
    chrome.execute_script("performance.clearMeasures()")
    for n in range(_TIMES.value):
        act(n)
    script = "return performance.getEntriesByName(arguments[0]).map((one) => one.duration)"
    times = chrome.execute_script(script, name)
    median, worst = statistics.median(times), max(times)
    print(f"{SHOWN[name]}: {median:.0f} ms, at worst {worst:.0f} ms ({len(times)} times)")


def _occlude(chrome: Chrome) -> None:
    """The whole map of the next weaker map, and away with it."""
    for key in ("ArrowRight", "o", "o"):
        _press(chrome, key)


def _drop(chrome: Chrome, number: int) -> None:
    """Another drawn picture, as a file."""
    from PIL import Image

    from zfnet_jax.data.pictures import OBJECTS, draw

    names = list(OBJECTS)
    file = io.BytesIO()
    Image.fromarray(draw(names[number % len(names)], number, 256).image).save(file, "PNG")
    chrome.execute_script(DROP, base64.b64encode(file.getvalue()).decode())
    _rest(chrome)


def _press(chrome: Chrome, key: str) -> None:
    chrome.execute_script(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0],"
        " bubbles: true}))",
        key,
    )
    _rest(chrome)


def _move_square(chrome: Chrome) -> None:
    """A step with an arrow: down, or to the right."""
    chrome.execute_script(
        "document.querySelector('#stage').dispatchEvent(new KeyboardEvent('keydown',"
        " {key: Math.random() < 0.5 ? 'ArrowDown' : 'ArrowRight', shiftKey: true, bubbles: true}))"
    )
    _rest(chrome)


def _rest(chrome: Chrome) -> None:
    """Waits until nothing is asked for any more, nor compiled."""
    quiet = 0
    while quiet < 3:
        time.sleep(0.15)
        busy = chrome.execute_async_script(
            "fetch('/api/progress').then((one) => one.json()).then(({doing, waiting}) =>"
            " arguments[0](doing !== null || waiting > 0 || !document.querySelector('#progress')"
            ".hidden))"
        )
        quiet = 0 if busy else quiet + 1


if __name__ == "__main__":
    shell.run(main)
