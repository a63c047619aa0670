"""The answers to what a person asks of runs and photos, as JSON values and PNG files.

All of it is called in one thread (see `worker`), so that nothing here need be guarded against
itself. A photo is forwarded once for each checkpoint; what that leaves is kept while there is room.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import geometry
from zfnet_jax.data import augment
from zfnet_jax.explore import mined, pictures, seen
from zfnet_jax.explore.asked import OVERLAPS, RULES, Chosen, How, Shown
from zfnet_jax.explore.errors import NotThereError, RequestError
from zfnet_jax.explore.kept import Kept
from zfnet_jax.explore.mined import Mined
from zfnet_jax.explore.nets import Folder, Nets
from zfnet_jax.explore.photos import MOST_BYTES, MOST_PIXELS, Photos
from zfnet_jax.explore.seen import Seen, Unit
from zfnet_jax.names import fit
from zfnet_jax.report.tiles import moved_inside, part_inside
from zfnet_jax.runs import titles
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.occlusion.measure import Arrays
from zfnet_jax.studies.occlusion.options import Options as Occlusion
from zfnet_jax.studies.occlusion.study import resolved

Json = dict[str, Any]
Says = Callable[[str], contextlib.AbstractContextManager[None]]

SEEN_BYTES = 2**28  # of activations in memory; one photo has 6 MB of them in ZFNet, 66 in VGG-16
MINED_BYTES = 2**26  # of winners in memory; one mining of ZFNet has half a MB of them
ANSWERS = 10  # classes
UNITS = 24  # of a place
EVENT_SECONDS = 0.05  # between two parts of an occlusion map


class Explorer:
    """Runs and photos.

    Args:
      says: in whose context something takes long, and what.
    """

    def __init__(self, nets: Nets, photos: Photos, says: Says) -> None:
        self.nets, self.photos = nets, photos
        self._says = says
        self._seen: Kept[Shown, Seen] = Kept(SEEN_BYTES, lambda one: one.nbytes)
        self._mined: Kept[tuple[int, Path, str], Mined] = Kept(MINED_BYTES, lambda one: one.nbytes)
        self._compiled: set[tuple[Any, ...]] = set()

    # ---- What there is

    def about(self) -> Json:
        """All runs, and what may be asked of them."""
        return {
            "nets": [self._net(n, folder) for n, folder in enumerate(self.nets.folders)],
            "rules": list(RULES),
            "overlaps": list(OVERLAPS),
            "upload": {"bytes": MOST_BYTES, "pixels": MOST_PIXELS},
        }

    def _net(self, number: int, folder: Folder) -> Json:
        run = folder.shown
        square = resolved(run, Occlusion())
        mined_layers = self._winners(number, run)
        convs = {conv.name for conv in run.architecture.convs}
        shapes = geometry.shapes(run.architecture, (*run.input_size, 3))
        layers = []
        for name in run.architecture.map_layers:
            rows, columns, maps = shapes[name]
            fields = geometry.receptive_fields(run.architecture, name)
            layers.append(
                {
                    "name": name,
                    "title": fit(run.origins.get(name, "")),
                    "kind": "conv" if name in convs else "pool",
                    "maps": maps,
                    "rows": rows,
                    "columns": columns,
                    "field": [one.size for one in fields],
                    "jump": [one.jump for one in fields],
                    "start": [one.start for one in fields],
                    "winners": bool(mined_layers and name in mined_layers.winners.layers),
                }
            )
        return {
            "run": number,
            "name": fit(folder.directory.resolve().name),
            "steps": [{"step": step, "label": folder.label(step)} for step in folder.steps],
            "step": run.step,
            "crop": list(run.input_size),
            "classes": list(run.class_titles) if run.class_names else None,
            "layers": layers,
            "square": {"size": square.square, "stride": square.stride},
            "samples": len(folder.samples) if folder.samples else 0,
        }

    # ---- Photos

    def sample(self, run: int, index: int) -> Json:
        """One of the run's validation images."""
        folder = self.nets.folder(run)
        split = folder.samples
        count = len(split) if split else 0
        if split is None or not 0 <= index < count:
            raise NotThereError(f"{folder.directory.name} has {count} images, and none of {index}")
        label = int(split.labels[index])
        names = titles.of_classes(folder.directory, split.class_names)
        return {
            "photo": self.photos.put(split.rows(np.array([index]))[0]),
            "index": index,
            "label": names[label] if 0 <= label < len(names) else None,
            "key": fit(split.keys[index]),
        }

    def photo(self, run: int, photo: str, whole: bool) -> bytes:
        """What the net sees, or the square that it is cut from."""
        shown = self.nets.folder(run).shown
        square = self.photos.square(photo, shown.config.data.image_size)
        return pictures.photo(square if whole else augment.centre(square, shown.input_size))

    # ---- What the net makes of a photo

    def answer(self, shown: Shown) -> Json:
        return _answer(self.seen(shown))

    def strip(self, shown: Shown, layer: str) -> Json:
        """All maps of a layer."""
        one = self.seen(shown)
        layer = _layer(one.run, layer)
        with self._compiling(one.run, f"the order of {layer}'s maps"):
            ranked = one.ranked(layer)
        shape = one.activations[layer].shape
        columns, tile = pictures.strip_layout((shape[1], shape[2], shape[3]))
        maps = [
            dict(zip(("map", "value", "row", "column"), each))
            for each in zip(*(array.tolist() for array in ranked))
        ]
        return {"layer": layer, "maps": maps, "columns": columns, "tile": list(tile)}

    def strip_picture(self, shown: Shown, layer: str) -> bytes:
        one = self.seen(shown)
        layer = _layer(one.run, layer)
        maps = np.asarray(one.activations[layer])[0]
        return pictures.strip(maps[..., one.ranked(layer).map])

    def unit(self, chosen: Chosen) -> Json:
        """A unit, and what its map stands for."""
        one, unit = self._unit(chosen)
        number = chosen.map
        field = seen.field_of(one.run, unit)
        found = self._winners(chosen.shown.run, one.run)
        has = found is not None and unit.layer in found.winners.layers
        (rank,) = np.flatnonzero(one.ranked(unit.layer).map == number)
        return {
            **unit._asdict(),
            "field": field.tolist(),
            "shown": moved_inside(field, one.run.input_size).tolist(),
            "rank": int(rank),
            "title": f"{unit.layer} map {number}",
            "class": mined.class_of(found.winners, unit.layer, number) if found and has else None,
            "winners": mined.of_map(found, unit.layer, number) if found and has else [],
            "grid": pictures.winners_across(found.winners, unit.layer) if found and has else None,
        }

    def unit_picture(self, chosen: Chosen, how: How, whole: bool) -> bytes:
        """Its projection, in its receptive field or on the whole crop."""
        one, unit = self._unit(chosen)
        projection = self.project(one, unit, how)
        field = seen.field_of(one.run, unit)
        if whole:
            return pictures.projection(seen.on_crop(projection, field, one.run.input_size))
        return pictures.projection(part_inside(projection, field, one.run.input_size))

    def winners_picture(
        self, run: int, step: int | None, layer: str, number: int, projected: bool
    ) -> bytes:
        opened = self._open(run, step)
        layer = _layer(opened, layer)
        found = self._winners(run, opened)
        if found is None or layer not in found.winners.layers:
            raise NotThereError(f"nothing is mined of {layer}: run python -m scripts.mine")
        if not 0 <= number < len(found.winners.winners[f"{layer}/image"]):
            raise NotThereError(f"{layer} has no map {number}")
        return pictures.winners(found.winners, layer, number, projected)

    def place(self, shown: Shown, layer: str, y: int, x: int) -> Json:
        """The units of a layer whose receptive fields are centred nearest to a pixel of the crop,
        strongest first; those at rest are left out."""
        one = self.seen(shown)
        layer = _layer(one.run, layer)
        row, column = one.nearest(layer, y, x)
        numbers, values = one.column(layer, row, column)
        field = seen.field_of(one.run, Unit(layer, 0, row, column, 0))
        return {
            "row": row,
            "column": column,
            "field": field.tolist(),
            "shown": moved_inside(field, one.run.input_size).tolist(),
            "units": [
                {"map": number, "value": value}
                for number, value in zip(numbers.tolist(), values.tolist())
                if value > 0
            ][:UNITS],
        }

    def square(self, chosen: Chosen, y: int, x: int, size: int) -> Json:
        """What a grey square over the photo costs: the answer, and the map's strongest unit."""
        one, unit = self._unit(chosen)
        height, width = one.run.input_size
        if not 1 <= size <= min(height, width):
            raise RequestError(f"a square has 1 to {min(height, width)} pixels, not {size}")
        y, x = min(max(y, 0), height - size), min(max(x, 0), width - size)
        under = seen.covered(one.run, one.photo, y, x, size)
        label = None
        if one.probabilities.size:
            best = int(one.probabilities.argmax())
            label = {
                "class": best,
                "name": one.run.class_titles[best],
                "probability": float(under.probabilities[best]),
                "was": float(one.probabilities[best]),
            }
        return {
            **{"y": y, "x": x, "size": size},
            **_answer(under),
            "label": label,
            "value": seen.activity(under, unit.layer, chosen.map),
            "was": seen.activity(one, unit.layer, chosen.map),
        }

    def occlusion(self, chosen: Chosen, size: int | None, stride: int | None) -> Iterator[Json]:
        """A grey square slid over the photo: where first, then the answers as they are computed."""
        one, unit = self._unit(chosen)
        usual = resolved(one.run, Occlusion(square=size, stride=stride))
        size, stride = usual.square, usual.stride
        with self._compiling(one.run, "occlusion", unit.layer, size, stride):
            grid, whole, answers = seen.occlusion(one, unit.layer, chosen.map, size, stride)
            label = int(whole["label"][0]) if "label" in whole else None
            yield {
                "begin": {
                    "rows": list(grid.rows),
                    "columns": list(grid.columns),
                    "size": size,
                    "stride": stride,
                    "label": None
                    if label is None
                    else {"class": label, "name": one.run.class_titles[label]},
                    "was": {
                        name: whole[f"whole_{name}"][0].item() if label is not None else None
                        for name in ("probability", "class")
                    }
                    | {"activity": whole["whole_activity"][0].item()},
                }
            }
            total = len(grid.rows) * len(grid.columns)
            parts = [next(answers)]
        began = time.monotonic()
        for part in itertools.chain(answers, [None]):
            # Of a small net several batches at a time: an event takes its time, too.
            if part is None or time.monotonic() - began > EVENT_SECONDS:
                yield _joined(parts, total)
                parts, began = [], time.monotonic()
            if part is not None:
                parts.append(part)
        yield {"end": True}

    # ---- What the others need, too

    def seen(self, shown: Shown) -> Seen:
        """A photo as a checkpoint sees it."""
        opened = self._open(shown.run, shown.step)
        exactly = shown._replace(step=opened.step)
        kept = self._seen.get(exactly)
        if kept:
            return kept
        square = self.photos.square(shown.photo, opened.config.data.image_size)
        with self._compiling(opened, "the net's answer"):
            return self._seen.put(exactly, seen.see(opened, square))

    def project(self, one: Seen, unit: Unit, how: How) -> np.ndarray:
        with self._compiling(one.run, unit.layer, *how):
            return seen.project(one, unit, *how)

    def warm_up(self) -> list[tuple[str, Callable[[], object]]]:
        """What makes the first answers quick, and what each is called: programs of each run for the
        answer, and of each conv layer for its maps and their units' projections."""
        jobs: list[tuple[str, Callable[[], object]]] = []
        for number, folder in enumerate(self.nets.folders):
            run = folder.shown
            size = run.config.data.image_size
            photo = self.photos.put(np.full((size, size, 3), 128, np.uint8))
            shown = Shown(number, None, photo)
            jobs.append(("the net's answer", functools.partial(self._warm_answer, shown)))
            for conv in run.architecture.convs:
                job = functools.partial(self._warm_layer, shown, conv.name)
                jobs.append((conv.name, job))
        return jobs

    def _warm_answer(self, shown: Shown) -> None:
        one = self.seen(shown)
        seen.covered(one.run, one.photo, 0, 0, 1)

    def _warm_layer(self, shown: Shown, layer: str) -> None:
        one = self.seen(shown)
        self.strip(shown, layer)
        self.strip_picture(shown, layer)
        number = int(one.ranked(layer).map[0])
        self.project(one, one.strongest(layer, number), How(RULES[0], OVERLAPS[0]))

    def _unit(self, chosen: Chosen) -> tuple[Seen, Unit]:
        one = self.seen(chosen.shown)
        layer = _layer(one.run, chosen.layer)
        one.unit(layer, chosen.map, 0, 0)  # or there is no such map
        if chosen.place:
            return one, one.unit(layer, chosen.map, *chosen.place)
        return one, one.strongest(layer, chosen.map)

    def _open(self, run: int, step: int | None) -> Run:
        opened = self.nets.kept(run, step)
        if opened:
            return opened
        with self._says(f"opening step {step}"):
            return self.nets.open(run, step)

    def _winners(self, number: int, run: Run) -> Mined | None:
        """What was mined of a checkpoint, as it is now: it may be mined anew meanwhile."""
        samples = self.nets.folder(number).samples
        fingerprint = samples.fingerprint if samples else None
        found = mined.find(run, fingerprint)
        if found is None:
            return None
        key = (number, found.folder, found.about["finished"])
        return self._mined.get(key) or self._mined.put(key, mined.load(found, fingerprint))

    @contextlib.contextmanager
    def _compiling(self, run: Run, *what: Any) -> Iterator[None]:
        """Says what is compiled, the first time that it is asked for."""
        key = (run.net.architecture, run.input_size, *what)
        if key in self._compiled:
            yield
            return
        first, *others = map(str, what)
        with self._says(f"compiling {first}" + (f" ({', '.join(others)})" if others else "")):
            yield
        self._compiled.add(key)


def _layer(run: Run, name: str) -> str:
    try:
        return run.layer(name, run.architecture.map_layers)
    except ValueError as error:
        raise RequestError(str(error)) from error


def _joined(parts: Sequence[tuple[range, Arrays]], total: int) -> Json:
    """Batches of places of the square that follow each other, as one event."""
    found = {
        name: np.concatenate([arrays[name] for _, arrays in parts]).tolist()
        if name in parts[0][1]
        else None
        for name in ("activity", "probability", "class")
    }
    return {"at": parts[0][0].start, "done": parts[-1][0].stop / total, **found}


def _answer(one: Seen) -> Json:
    if not one.probabilities.size:
        return {"classes": None}
    best = np.argsort(-one.probabilities, kind="stable")[:ANSWERS]
    names = one.run.class_titles
    return {
        "classes": [
            {"class": int(n), "name": names[n], "probability": float(one.probabilities[n])}
            for n in best
        ]
    }
