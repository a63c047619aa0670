"""The atlas: a static web page of every feature map, which opens from the file system.

Browsers refuse to read local files from a script, so the data are scripts themselves, each giving
its part to the global ATLAS; the pictures are sprite sheets and photos that the page asks for when
they come into view.

    index.html  atlas.css  common.js  overview.js  detail.js  atlas.js
    data/atlas.js                    what all checkpoints share: layers, classes, keys of photos
    data/<step>.js                   the winners of one checkpoint
    sprites/<step>/<layer>-<kind>-<n>.webp
    photos/<row>.webp                every source photo once
"""

from __future__ import annotations

import html
import json
import re
import shutil
import string
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from zfnet_jax.names import fit
from zfnet_jax.studies import saved
from zfnet_jax.studies.features import sprites
from zfnet_jax.studies.features.winners import Winners, load

ASSETS = Path(__file__).with_name("assets")
PHOTO_QUALITY = 65  # of WebP
PHOTO_BYTES = 30e6  # all photos together; where there are many, each is smaller
BYTES_PER_PIXEL = 0.18  # of a photo at that quality: 0.15 at 180 pixels, more where smaller
SHARED = ("layers", "class_names", "images", "crop", "data", "receptive_fields")


def write_atlas(folders: Sequence[Path], out: Path, progress: bool) -> None:
    """Writes the atlas of one run, from one mined folder per checkpoint, atomically.

    An atlas already at `out` is replaced.

    Raises:
      ValueError: the folders do not belong together (another net, split or data set).
    """
    checkpoints = sorted((load(folder) for folder in folders), key=lambda c: c.about["step"])
    _check(checkpoints)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        _write_page(new, checkpoints)
        _write_sprites(new, checkpoints, progress)
        _write_photos(new, checkpoints, progress)
        if out.exists():
            out.rename(Path(temporary) / "old")
        new.rename(out)


def photo_side(count: int, largest: int) -> int:
    """Pixels along the longer side of each photo, so that `count` of them keep to PHOTO_BYTES."""
    return min(largest, int((PHOTO_BYTES / (BYTES_PER_PIXEL * max(count, 1))) ** 0.5))


def as_script(name: str, value: Any) -> str:
    """A JavaScript statement that sets `name`; no text in the value can end the script."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return f"{name}={text.replace('<', chr(92) + 'u003c')};\n"


def checkpoint_keys(checkpoints: Sequence[Winners]) -> list[str]:
    """How links name the checkpoints: 'epoch=40', or 'step=4290' where epochs do not tell."""
    epochs = [checkpoint.about["epoch"] for checkpoint in checkpoints]
    if None not in epochs:
        keys = [f"epoch={round(epoch, 2):g}" for epoch in epochs]
        if len(set(keys)) == len(keys):
            return keys
    return [f"step={checkpoint.about['step']}" for checkpoint in checkpoints]


def _check(checkpoints: Sequence[Winners]) -> None:
    if not checkpoints:
        raise ValueError("an atlas needs at least one folder of mined winners")
    first = checkpoints[0]
    for layer in first.layers:
        if not re.fullmatch(r"\w+", layer, re.ASCII):
            raise ValueError(f"{first.folder}: a layer named {layer!r} cannot name a file")
    for one in checkpoints[1:]:
        differing = [name for name, value in one.options.items() if first.options[name] != value]
        differing += [name for name in SHARED if one.about[name] != first.about[name]]
        if differing:
            raise ValueError(
                f"{one.folder} and {first.folder} do not belong in one atlas: "
                f"they differ in {', '.join(differing)}"
            )
        if one.about["step"] == first.about["step"]:
            raise ValueError(f"{one.folder} and {first.folder} are of the same step")


def _write_page(out: Path, checkpoints: Sequence[Winners]) -> None:
    about = checkpoints[0].about
    for asset in [*ASSETS.glob("*.css"), *ASSETS.glob("*.js")]:
        shutil.copy(asset, out)
    template = string.Template((ASSETS / "index.html").read_text(encoding="utf-8"))
    page = template.substitute(
        run=html.escape(fit(about["run"])),
        newest=checkpoints[-1].about["step"],
        checkpoint=_not_newest(checkpoints),
    )
    (out / "index.html").write_text(page, encoding="utf-8")
    data = out / "data"
    data.mkdir()
    (data / "atlas.js").write_text(as_script("window.ATLAS", _overview(checkpoints)))
    for checkpoint in checkpoints:
        name = f"ATLAS.winners[{checkpoint.about['step']}]"
        (data / f"{checkpoint.about['step']}.js").write_text(as_script(name, _winners(checkpoint)))


def _not_newest(checkpoints: Sequence[Winners]) -> str:
    """A paragraph that says of which checkpoint the page is, where it is not the run's newest."""
    note = saved.load(checkpoints[-1].folder).note
    if not note:
        return ""
    until = "Of" if len(checkpoints) == 1 else "Up to"
    return f'\n    <p class="quiet">{until} {html.escape(note)}.</p>'


def _overview(checkpoints: Sequence[Winners]) -> dict[str, Any]:
    """What all checkpoints share."""
    about = checkpoints[-1].about
    keys = {row: fit(key) for checkpoint in checkpoints for row, key in checkpoint.keys.items()}
    return {
        "run": fit(about["run"]),
        "provenance": {
            **checkpoints[-1].options,
            "images": about["images"],
            "data": about["data"]["fingerprint"],
            "versions": about["versions"],
        },
        "classes": checkpoints[-1].class_titles,
        "ids": [fit(name) for name in about["class_names"]],
        "crop": about["crop"],
        "photos": keys,
        "layers": [_layer(checkpoints[-1], name) for name in checkpoints[-1].layers],
        "checkpoints": [
            {"key": key, "step": checkpoint.about["step"], "dead": _dead(checkpoint)}
            for key, checkpoint in zip(checkpoint_keys(checkpoints), checkpoints, strict=True)
        ],
        "winners": {},
    }


def _layer(checkpoint: Winners, name: str) -> dict[str, Any]:
    fields = checkpoint.fields(name)
    maps, winners = checkpoint.winners[f"{name}/value"].shape
    sheet = sprites.Sheet.of(winners, _tile_side(checkpoint, name))
    return {
        "name": name,
        "origin": fit(checkpoint.origins.get(name, "")),
        "maps": maps,
        "size": [field.size for field in fields],
        "jump": [field.jump for field in fields],
        "start": [field.start for field in fields],
        "exact": sheet.exact,
        "sheet": {"grid": sheet.grid, "columns": sheet.columns, "rows": sheet.rows},
    }


def _tile_side(checkpoint: Winners, name: str) -> int:
    return max(checkpoint.projections[f"{name}/projection"].shape[2:4])


def _dead(checkpoint: Winners) -> dict[str, list[int]]:
    """Per layer the numbers of its dead maps."""
    return {
        name: np.flatnonzero(checkpoint.winners[f"{name}/value"][:, 0] <= 0).tolist()
        for name in checkpoint.layers
    }


def _winners(checkpoint: Winners) -> dict[str, dict[str, list[Any]]]:
    """Per layer, field and map the list of its winners, without those that are absent."""
    result = {}
    for name in checkpoint.layers:
        there = checkpoint.winners[f"{name}/image"] >= 0
        value = checkpoint.winners[f"{name}/value"]
        result[name] = {
            "value": [[float(f"{v:.4g}") for v in row[t]] for row, t in zip(value, there)],
            **{
                field: [row[t].tolist() for row, t in zip(array, there)]
                for field in ("image", "label", "position")
                for array in [checkpoint.winners[f"{name}/{field}"]]
            },
        }
    return result


def _write_sprites(out: Path, checkpoints: Sequence[Winners], progress: bool) -> None:
    counts = {name: len(checkpoints[0].winners[f"{name}/value"]) for name in checkpoints[0].layers}
    total = 2 * sum(counts.values()) * len(checkpoints)
    with tqdm(total=total, desc="sprites", unit=" maps", disable=not progress) as bar:
        for checkpoint in checkpoints:
            folder = out / "sprites" / str(checkpoint.about["step"])
            folder.mkdir(parents=True)
            for name in counts:
                sheet = sprites.Sheet.of(checkpoint.options["k"], _tile_side(checkpoint, name))
                projections = (
                    sprites.projection_tiles(sheet, one)
                    for one in checkpoint.projections[f"{name}/projection"]
                )
                for kind, maps in [
                    ("projection", projections),
                    ("patch", checkpoint.patches[f"{name}/patch"]),
                ]:
                    sprites.write_sheets(sheet, _counted(maps, bar), folder / f"{name}-{kind}")


def _write_photos(out: Path, checkpoints: Sequence[Winners], progress: bool) -> None:
    rows = [checkpoint.patches["photo_rows"].tolist() for checkpoint in checkpoints]
    missing = set().union(*rows)
    side = photo_side(len(missing), max(checkpoints[0].about["crop"]))
    folder = out / "photos"
    folder.mkdir()
    with tqdm(total=len(missing), desc="photos", unit=" photos", disable=not progress) as bar:
        for checkpoint, numbers in zip(checkpoints, rows, strict=True):
            for row, pixels in zip(numbers, checkpoint.patches["photos"], strict=True):
                if row in missing:
                    missing.remove(row)
                    photo = sprites.as_picture(pixels)
                    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
                    photo.save(folder / f"{row}.webp", quality=PHOTO_QUALITY, method=4)
                    bar.update()


def _counted(maps: Iterable[np.ndarray], bar: tqdm[Any]) -> Iterable[np.ndarray]:
    for tiles in maps:
        yield tiles
        bar.update()
