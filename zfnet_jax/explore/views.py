"""Views that were saved: WORKDIR/explore/NAME/, whole or not at all.

view.json    what was asked for, what was answered, and the commands that make the same
photo.png    the photo as nets are shown it, [S, S, 3]; crop.png what of it the net sees
unit.png     the unit's projection in its receptive field
arrays.npz   'probabilities' [classes], 'activations' [M] and 'positions' [M, 2] of the layer's
             maps at their strongest units, 'projection' [H, W, C] on the crop and 'window' [4];
             with a square 'square' [3] (first row, first column, side) and
             'square_probabilities'
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfnet_jax.explore import pictures, seen
from zfnet_jax.explore.asked import Chosen, Looked
from zfnet_jax.explore.errors import NotThereError
from zfnet_jax.explore.explorer import Explorer, Json
from zfnet_jax.files import damage_told, whole_folder, write_arrays, write_bytes, write_json
from zfnet_jax.studies.layers.options import UnitOptions
from zfnet_jax.studies.occlusion.options import Options as Occlusion
from zfnet_jax.studies.options import arguments, command

FOLDER = "explore"  # in a run's folder
_LISTED = ("saved", "layer", "map", "step")


def save(explorer: Explorer, looked: Looked) -> Json:
    """Saves what is seen; the name is of what was asked for: the same is saved once."""
    chosen, how = looked.chosen, looked.how
    unit = explorer.unit(chosen)
    one = explorer.seen(chosen.shown)
    run, layer = one.run, unit["layer"]
    # Exactly: the page's own checkpoint by its step, the strongest unit by its place.
    chosen = Chosen(
        chosen.shown._replace(step=run.step), layer, chosen.map, (unit["row"], unit["column"])
    )
    square = None
    if looked.square:
        y, x, size = looked.square
        square = explorer.square(chosen, y, x, size)
    view: dict[str, Any] = {
        "step": run.step,
        **{name: unit[name] for name in ("layer", "map", "row", "column")},
        **how._asdict(),
        "square": square and {name: square[name] for name in ("y", "x", "size")},
    }
    digest = hashlib.sha256(json.dumps(view).encode() + one.photo.tobytes())
    name = f"{layer}-{chosen.map}-{digest.hexdigest()[:12]}"
    folder = run.directory / FOLDER / name
    if not (folder / "view.json").exists():
        row, column = unit["row"], unit["column"]
        projection = explorer.project(one, one.unit(layer, chosen.map, row, column), how)
        ranked = one.ranked(layer)
        order = np.argsort(ranked.map)
        whole = seen.on_crop(projection, np.array(unit["field"]), run.input_size)
        arrays = {
            "probabilities": one.probabilities,
            "activations": ranked.value[order],
            "positions": np.stack([ranked.row, ranked.column], axis=1)[order],
            "projection": whole,
            "window": np.array(unit["field"], np.int32),
        }
        if square:
            corner = square["y"], square["x"], square["size"]
            arrays |= {
                "square": np.array(corner, np.int32),
                "square_probabilities": seen.covered(run, one.photo, *corner).probabilities,
            }
        with whole_folder(folder) as unfinished:
            write_bytes(unfinished / "photo.png", pictures.photo(one.photo))
            write_bytes(unfinished / "crop.png", pictures.photo(one.crop))
            write_bytes(unfinished / "unit.png", explorer.unit_picture(chosen, how, whole=False))
            write_arrays(unfinished / "arrays.npz", arrays)
            said = view | {
                "answer": explorer.answer(chosen.shown)["classes"],
                "covered": square,
                **{field: unit[field] for field in ("value", "field", "shown", "class")},
                "commands": _commands(run.directory, folder, view),
                "run_name": run.directory.resolve().name,
                "saved": time.strftime("%Y-%m-%dT%H:%M:%S"),
            }
            write_json(unfinished / "view.json", said)
    return {"view": name}


def listed(explorer: Explorer, run: int) -> Json:
    """The views of a run, newest first."""
    root = explorer.nets.folder(run).directory / FOLDER
    found = []
    for path in root.glob("[!.]*/view.json"):
        try:
            view = _read(path.parent)
        except (ValueError, OSError) as error:  # the others are whole
            logging.warning("%s", error)
            continue
        found.append({"view": path.parent.name, **{field: view[field] for field in _LISTED}})
    found.sort(key=lambda one: (one["saved"], one["view"]), reverse=True)
    return {"views": found}


def opened(explorer: Explorer, run: int, name: str) -> Json:
    """A saved view; its photo is kept again. NotThereError: its checkpoint is gone."""
    folder = _folder(explorer, run, name)
    view = _read(folder)
    steps = explorer.nets.folder(run).steps
    if view["step"] not in steps:
        raise NotThereError(
            f"the view {name} is of step {view['step']}, which is not there any more, only"
            f" {', '.join(map(str, steps))}"
        )
    with damage_told(folder, "remove it"), Image.open(folder / "photo.png") as image:
        square = np.asarray(image.convert("RGB"))
    return view | {"view": name, "run": run, "photo": explorer.photos.put(square)}


def zipped(explorer: Explorer, run: int, name: str) -> bytes:
    """The folder of a view as a .zip."""
    folder = _folder(explorer, run, name)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{name}/{path.name}")
    return file.getvalue()


def _folder(explorer: Explorer, run: int, name: str) -> Path:
    folder = explorer.nets.folder(run).directory / FOLDER / name
    if not re.fullmatch(r"\w[\w-]*", name) or not (folder / "view.json").exists():
        raise NotThereError(f"there is no view {name[:80]!r} in {folder.parents[1].name}")
    return folder


def _read(folder: Path) -> Json:
    with damage_told(folder, "remove it"):
        view = json.loads((folder / "view.json").read_text(encoding="utf-8"))
        return view | {field: view[field] for field in _LISTED}  # or it is no view


def _commands(workdir: Path, folder: Path, view: Json) -> list[str]:
    """What makes the same in a shell: the projection, and with a square the map of all places."""
    photo, of_run = folder / "photo.png", (f"--workdir={workdir}", f"--step={view['step']}")
    place = f"{view['layer']}:{view['map']}:{view['row']},{view['column']}"
    unit = UnitOptions(place, view["rule"], view["overlap"])
    out = f"--out={folder / 'shell.png'}"
    made = [command("visualize", *of_run, f"--image={photo}", *arguments(unit), out)]
    if view["square"]:
        options = Occlusion((str(photo),), square=view["square"]["size"], layer=view["layer"])
        made.append(command("occlusion", *of_run, *arguments(options)))
    return made
