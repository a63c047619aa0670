"""Lets several people at once use the page of a run for a while, and checks every answer.

python -m scripts.explore_soak --workdir=DIR [--seconds=120] [--people=5]

It starts scripts.explore in a process of its own. Each person sends photos, some of them broken,
and asks for answers, maps, units, squares and occlusion maps, some of which they leave half way;
the checkpoints take turns. All is compared with what this process computes alone, before. Exit
code 1 if an answer is wrong or the server's memory goes on growing.
"""

from __future__ import annotations

import http.client
import io
import json
import random
import re
import threading
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from scripts.benchmarks.explore_process import started
from zfnet_jax.command import shell

if TYPE_CHECKING:
    import numpy as np

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.", required=True)
_SECONDS = flags.DEFINE_float("seconds", 120, "How long.", lower_bound=1)
_PEOPLE = flags.DEFINE_integer("people", 5, "How many at once.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of what they ask for.")

PHOTOS = 8  # whose answers are known
STEPS = 2  # checkpoints, the newest
QUIET = 5  # seconds without work, after which all is compiled
GROWTH = 1.25  # of the server's memory, from a third of the time to the end
CLOSE = 1e-4  # of the largest value: occlusion and squares are computed in two ways


class Known:
    """Photos, and what a run's checkpoints make of them."""

    def __init__(self, workdir: Path) -> None:
        import numpy as np
        from PIL import Image

        from zfnet_jax.data.pictures import OBJECTS, draw
        from zfnet_jax.runs.checkpoint import open_checkpoints
        from zfnet_jax.runs.run import open_run
        from zfnet_jax.studies.layers import strongest
        from zfnet_jax.studies.occlusion import study
        from zfnet_jax.studies.occlusion.options import Options

        with open_checkpoints(workdir / "checkpoints") as checkpoints:
            self.steps = checkpoints.all_steps()[-STEPS:]
        runs = {step: open_run(workdir, step) for step in self.steps}
        run = runs[self.steps[-1]]
        self.layers = [conv.name for conv in run.architecture.convs]
        size = run.config.data.image_size
        names = list(OBJECTS)
        pixels = [draw(names[n % len(names)], n, size).image for n in range(PHOTOS)]
        self.files, self.maps, self.squares = [], {}, {}
        usual = study.resolved(run, Options())
        self.square, self.last = usual.square, usual.layer
        for n, image in enumerate(pixels):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            self.files.append(file.getvalue())
            for step, opened in runs.items():
                self.maps[n, step] = strongest.strongest_maps(opened, image, 10**6)
                covered = study.of_pixels(opened, usual, np.stack([image]), None, progress=False)
                self.squares[n, step] = {
                    name: array[0]
                    for name, array in covered.items()
                    if name not in ("rows", "columns", "square")
                }
                self.rows, self.columns = covered["rows"], covered["columns"]


class Person(threading.Thread):
    """Asks for whatever comes to mind until it is time; `asked` counts, `wrong` says what was."""

    def __init__(self, address: str, known: Known, seed: int, until: float) -> None:
        super().__init__(daemon=True)
        self._address, self._known, self._until = address, known, until
        self._random = random.Random(seed)
        self.asked, self.wrong = 0, list[str]()

    def run(self) -> None:
        while time.monotonic() < self._until and not self.wrong:
            try:
                self._look()
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")

    def _look(self) -> None:
        known, chosen = self._known, self._random
        n, step = chosen.randrange(PHOTOS), chosen.choice(known.steps)
        maps, squares = known.maps[n, step], known.squares[n, step]
        if chosen.random() < 0.3:
            cut = known.files[n][: chosen.randrange(2000)]
            self._expect(self._ask("/api/photos", cut)[0] == 415, "a broken photo is taken")
        photo = self._json("/api/photos", known.files[n])["photo"]
        seen = {"photo": photo, "step": step}
        if (classes := self._json("/api/answer", **seen)["classes"]) is not None:
            for one in classes:
                expected = maps["probabilities"][one["class"]]
                self._expect(one["probability"] == expected, "a probability differs")
        layer = chosen.choice(known.layers)
        strip = self._json("/api/strip", **seen, layer=layer)["maps"]
        values = [one["value"] for one in strip]
        self._expect(values == maps[f"{layer}/activation"].tolist(), "a layer's maps differ")
        rank = chosen.randrange(len(strip))
        asked = {**seen, "layer": layer, "map": strip[rank]["map"]}
        unit = self._json("/api/unit", **asked)
        self._expect(unit["value"] == values[rank], "a unit's activation differs")
        place = maps[f"{layer}/position"][rank].tolist()
        self._expect([unit["row"], unit["column"]] == place, "a unit's place differs")
        self._expect(self._ask("/api/unit.png", **asked)[1][1:4] == b"PNG", "no picture")
        followed = {**seen, "layer": known.last, "map": int(squares["map"])}
        row, column = (chosen.randrange(len(axis)) for axis in (known.rows, known.columns))
        corner = {"y": int(known.rows[row]), "x": int(known.columns[column])}
        one = self._json("/api/square", **followed, **corner, size=known.square)
        self._near(one["value"], squares["activity"], (row, column), "a square's activity")
        if chosen.random() < 0.3:
            self._occlude(followed, squares["activity"], chosen.random() < 0.5)

    def _occlude(self, asked: dict[str, Any], expected: np.ndarray, all_of_it: bool) -> None:
        connection, answer = self._send("/api/occlusion", None, asked)
        at = 0
        for line in answer:
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line[6:])
            self._expect("error" not in event, f"occlusion: {event}")
            for value in event.get("activity", ()):
                self._near(value, expected, divmod(at, expected.shape[1]), "an occluded activity")
                at += 1
            if at and not all_of_it:
                break
        else:
            self._expect(at == expected.size, "an occlusion map ends early")
        connection.close()

    def _near(self, value: float, expected: np.ndarray, place: tuple[int, int], what: str) -> None:
        apart = abs(value - expected[place])
        self._expect(apart <= CLOSE * max(abs(expected).max(), 1e-3), f"{what} differs by {apart}")

    def _expect(self, right: bool, error: str) -> None:
        if not right:
            raise AssertionError(error)

    def _json(self, path: str, body: bytes | None = None, **asked: Any) -> Any:
        status, data = self._ask(path, body, **asked)
        self._expect(status == 200, f"{path} {asked}: {data[:200].decode(errors='replace')}")
        return json.loads(data)

    def _ask(self, path: str, body: bytes | None = None, **asked: Any) -> tuple[int, bytes]:
        connection, answer = self._send(path, body, asked)
        data = answer.read()
        connection.close()
        return answer.status, data

    def _send(
        self, path: str, body: bytes | None, asked: dict[str, Any]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        self.asked += 1
        connection = http.client.HTTPConnection(self._address, timeout=120)
        where = f"{path}?{urllib.parse.urlencode(asked)}"
        connection.request("GET" if body is None else "POST", where, body)
        return connection, connection.getresponse()


def main() -> None:
    known = Known(Path(_WORKDIR.value))
    with started(_WORKDIR.value) as server:
        people, grown = _use(server.address, known, server.pid)
    wrong = [error for person in people for error in person.wrong]
    asked = sum(person.asked for person in people)
    print(
        f"{len(people)} people, {_SECONDS.value:g} s: {asked} requests, {len(wrong)} wrong;"
        f" the server's memory {grown[0]:.0f} MB after a third, {grown[1]:.0f} MB at the end"
    )
    for error in wrong:
        print(f"wrong: {error}")
    if wrong or grown[1] > GROWTH * grown[0]:
        raise SystemExit(1)


def _use(address: str, known: Known, process: int) -> tuple[list[Person], tuple[float, float]]:
    """All people, done, and the server's megabytes after a third of the time and at the end."""
    quiet = 0
    while quiet < QUIET:  # it compiles; between two programs it is idle, too
        progress = _progress(address)
        quiet = 0 if progress["doing"] or progress["waiting"] else quiet + 1
        time.sleep(1)
    until = time.monotonic() + _SECONDS.value
    people = [Person(address, known, _SEED.value + n, until) for n in range(_PEOPLE.value)]
    for person in people:
        person.start()
    time.sleep(_SECONDS.value / 3)
    third = _megabytes(process)
    for person in people:
        person.join()
    return people, (third, _megabytes(process))


def _progress(address: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("GET", "/api/progress")
    return json.loads(connection.getresponse().read())


def _megabytes(process: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    shell.run(main)
