"""The photos that two sets share, in pairs, as one HTML file that loads and runs nothing."""

from __future__ import annotations

import base64
import io
import math
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfnet_jax.files import write_json, write_text
from zfnet_jax.report.markup import html_text
from zfnet_jax.studies.features import sprites

ASSETS = Path(__file__).with_name("assets")
SHOWN = 1000  # pairs on a page, some 8 MB
PHOTO_SIDE = 160  # pixels
PHOTO_QUALITY = 65  # of WebP
MARK = '<figure class="scores">'  # is in every page
_WIDTH, _HEIGHT = 640, 150  # of the histogram

Photo = Callable[[str], np.ndarray]


def write_folder(
    folder: Path, found: dict[str, Any], first: Photo, second: Photo
) -> tuple[Path, Path, Path]:
    """Writes pairs.json, exclude.json (see `config.data.exclude`) and index.html, their page.

    Args:
      folder: made if missing.
      found, first, second: see `write_page`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs, exclude, page = (folder / n for n in ("pairs.json", "exclude.json", "index.html"))
    about = {name: found[name] for name in ("threshold", "a", "b")}
    write_json(pairs, found)
    write_json(exclude, {"keys": found["exclude"]} | about)
    write_page(page, found, first, second)
    return pairs, exclude, page


def write_page(path: Path, found: dict[str, Any], first: Photo, second: Photo) -> None:
    """Writes the page of an overlap, whole or not at all.

    Args:
      found: what pairs.json holds, see `study.search`.
      first, second: the photo of a key of either set, `[s, s, 3]` uint8.
    """
    pairs = found["pairs"]
    shown = sorted(pairs, key=lambda pair: pair["score"])[:SHOWN]
    template = string.Template((ASSETS / "index.html").read_text(encoding="utf-8"))
    page = template.substitute(
        style=(ASSETS / "overlap.css").read_text(encoding="utf-8"),
        title=f"Photos in {_name(found['a'])} twice"
        if found["within"]
        else f"Photos in both {_name(found['a'])} and {_name(found['b'])}",
        lead=_lead(found),
        histogram=_histogram(found),
        pairs=_pairs(shown, len(pairs), first, second),
        footer=_footer(found),
    )
    write_text(path, page)


def _lead(found: dict[str, Any]) -> str:
    first, second = found["a"], found["b"]
    count = len({pair["b"] for pair in found["pairs"]})
    sets = f"{first['photos']:,} photos"
    if not found["within"]:
        sets += f" against {second['photos']:,}"
    lines = [
        f"{sets}: {len(found['pairs']):,} pairs correlate at {found['threshold']:g} or more"
        + ("." if found["within"] else f", of {count:,} photos of the second set."),
    ]
    if found["exclude"]:
        count = len(found["exclude"])
        lines.append(f"exclude.json names {count:,} photos of the first for training to leave out.")
    for one in [first] if found["within"] else [first, second]:
        for kind, text in (
            ("without_contrast", "without contrast and match nothing"),
            ("unreadable", "unreadable"),
        ):
            if one[kind]:
                are = "photo is" if len(one[kind]) == 1 else "photos are"
                lines.append(f"Of {_name(one)}, {len(one[kind]):,} {are} {text}.")
    return " ".join(lines)


def _name(one: dict[str, Any]) -> str:
    """The last two folders of a path, which mostly say enough, escaped."""
    return html_text("/".join(Path(one["folder"]).parts[-2:]))


def _histogram(found: dict[str, Any]) -> str:
    """How many photos of the second set have which best score; logarithmic heights."""
    counts, threshold = found["best_scores"], found["threshold"]
    which = "" if found["within"] else " of the second set"
    highest = math.log10(max(*counts, 9) + 1)
    width = _WIDTH / len(counts)
    parts = []
    for number, count in enumerate(counts):
        if count:
            side = "above" if (number + 0.5) / len(counts) >= threshold else "below"
            height = _HEIGHT * math.log10(count + 1) / highest
            parts.append(
                f'<rect class="{side}" x="{number * width + 0.5:.1f}" y="{_HEIGHT - height:.1f}"'
                f' width="{width - 1:.1f}" height="{height:.1f}">'
                f"<title>{number / len(counts):g} to {(number + 1) / len(counts):g}: {count:,}"
                "</title></rect>"
            )
    x = threshold * _WIDTH
    parts.append(f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>')
    parts.append(f'<line class="threshold" x1="{x:.1f}" x2="{x:.1f}" y1="-4" y2="{_HEIGHT}"/>')
    parts.append(
        f'<text class="threshold" x="{x:.1f}" y="-9" text-anchor="middle">'
        f"threshold {threshold:g}</text>"
    )
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(
            f'<text x="{tick * _WIDTH:.0f}" y="{_HEIGHT + 20}" text-anchor="middle">{tick:g}</text>'
        )
    return (
        f'{MARK}<svg viewBox="-8 -22 {_WIDTH + 16} {_HEIGHT + 46}" role="img"'
        f' aria-label="Histogram of best scores">{"".join(parts)}</svg>'
        f"<figcaption>The best score of every photo{which}; heights are logarithmic.</figcaption>"
        "</figure>"
    )


def _pairs(shown: Sequence[dict[str, Any]], count: int, first: Photo, second: Photo) -> str:
    if not shown:
        return "<h2>No pairs</h2>"
    note = "The least certain come first; an orange box is the part that the other photo matches."
    if count > len(shown):
        note += f" The {count - len(shown):,} surest pairs are only in pairs.json."
    items = "\n".join(_pair(pair, first, second) for pair in shown)
    title = f"{count:,} pair{'s' * (count > 1)}"
    return f'<h2>{title}</h2>\n<p class="note">{note}</p>\n<ol class="pairs">\n{items}\n</ol>'


def _pair(pair: dict[str, Any], first: Photo, second: Photo) -> str:
    a, b = html_text(pair["a"]), html_text(pair["b"])
    return (
        '<li><div class="pair">'
        f"{_photo(first(pair['a']), a, pair['window_a'])}"
        f"{_photo(second(pair['b']), b, pair['window_b'])}</div>"
        f"<p><b>{pair['score']:.3f}</b><span>{a}</span><span>{b}</span></p></li>"
    )


def _photo(pixels: np.ndarray, name: str, window: Sequence[float]) -> str:
    """A photo, with a box around its window (share, top, left) unless that is the whole."""
    picture = sprites.as_picture(pixels)
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=PHOTO_QUALITY, method=4)
    source = base64.b64encode(data.getvalue()).decode()
    share, top, left = window
    box = ""
    if share < 1:
        corner = [100 * (1 - share) * place for place in (top, left)]
        box = (
            f'<i style="top:{corner[0]:.3g}%;left:{corner[1]:.3g}%;'
            f'width:{100 * share:.3g}%;height:{100 * share:.3g}%"></i>'
        )
    return (
        f'<div class="photo"><img src="data:image/webp;base64,{source}" alt="{name}"'
        f' loading="lazy">{box}</div>'
    )


def _footer(found: dict[str, Any]) -> str:
    lines = [", ".join(f"{name} {version}" for name, version in found["versions"].items())]
    for one in [found["a"]] if found["within"] else [found["a"], found["b"]]:
        fingerprint = f", fingerprint {one['fingerprint']}" if one["fingerprint"] else ""
        lines.append(one["folder"] + fingerprint)
    return "<br>".join(map(html_text, lines))
