"""Names in figures: as wide as their room, in a font that has their letters, never mathematics."""

from __future__ import annotations

import contextlib
import functools
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping

import matplotlib as mpl
from absl import logging
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from zfnet_jax import names

_TOLD: set[str] = set()  # scripts of which it was said that no font has them


def width(text: str, size: str | float | None = None) -> float:
    """How wide a line is in the style in use, inches.

    Args:
      size: of the font: points, or in words as matplotlib has them, such as 'small'.
    """
    families = _families(text, tuple(mpl.rcParams["font.family"]))
    font = FontProperties(family=list(families), size=size)
    with without_remarks():
        return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72


def within(name: str, room: float, size: str | float | None = None) -> str:
    """A `fit` name no wider than so many inches: its middle is left out where it is."""
    if width(name, size) <= room:
        return name
    low, high = 1, len(name)  # letters: so many find room, so many do not
    while high - low > 1:
        middle = (low + high) // 2
        fits = width(names.shortened(name, middle), size) <= room
        low, high = (middle, high) if fits else (low, middle)
    return names.shortened(name, low)


def all_within(
    shown: Mapping[int, str], room: float, size: str | float | None = None
) -> dict[int, str]:
    """Names by their class's number, each `within` its room.

    Of names that would be alike then, each says its number.
    """
    short = {number: within(name, room, size) for number, name in shown.items()}
    counts = Counter(short.values())
    for number, name in short.items():
        if counts[name] > 1:
            tag = f" ({number})"
            short[number] = within(shown[number], room - width(tag, size), size) + tag
    return short


def from_the_left(line: str) -> str:
    """A line whose parts stay in order where a name in it is written from the right."""
    mark = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in line)
    return f"\u200e{line}" if mark else line


def legend(figure: Figure, **how: object) -> Legend:
    """A figure's legend whose words are no mathematics."""
    made = figure.legend(**how)
    for text in made.get_texts():
        text.set_parse_math(False)
    return made


def use_fonts_that_have_its_letters(figure: Figure) -> None:
    """Lets each text of a figure fall back on installed fonts that have its letters.

    Of letters that none has a warning says, once, that they stand as boxes.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_text().isascii():
            text.set_fontfamily(_families(text.get_text(), tuple(text.get_fontfamily())))


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Without what matplotlib says of every letter that no font has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


@functools.cache
def _families(text: str, families: tuple[str, ...]) -> tuple[str, ...]:
    """These families of fonts, and others that have letters of the text which these lack."""
    # Marks and joiners come with the letters that they are of.
    letters = (one for one in text if unicodedata.category(one) not in ("Mn", "Cf", "Zs"))
    lacking = set(map(ord, letters))
    for family in families:
        lacking -= _letters(font_manager.findfont(FontProperties(family=[family])))
    others = []
    for name, path in _installed() if lacking else ():
        here = lacking & _letters(path)
        if here:
            others.append(name)
            lacking -= here
    of_script = {_script(chr(code)): chr(code) for code in sorted(lacking, reverse=True)}
    for script in sorted(of_script.keys() - _TOLD):
        _TOLD.add(script)
        logging.warning(
            "no installed font has %s letters, such as %s: figures show boxes in their place;"
            " install a font that has them, such as one of Noto",
            script,
            of_script[script],
        )
    return (*families, *others)


@functools.cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Family and file of every installed font, upright and regular ones first."""

    def rank(font: font_manager.FontEntry) -> tuple[bool, bool, bool, str]:
        regular = font.weight in (400, "normal", "regular")
        return font.style != "normal", not regular, "Sans" not in font.name, font.name

    fonts = sorted(font_manager.fontManager.ttflist, key=rank)
    return tuple((font.name, font.fname) for font in fonts if "Last Resort" not in font.name)


@functools.cache
def _letters(path: str) -> frozenset[int]:
    """The characters that a font's file has."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError):  # a kind of font that matplotlib does not draw
        return frozenset()


def _script(letter: str) -> str:
    """The script that a letter is of, by the first word of its name in Unicode."""
    return unicodedata.name(letter, "other").split()[0]
