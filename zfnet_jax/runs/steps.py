"""Which checkpoint of a run is meant: a step, or a word for one."""

from __future__ import annotations

from typing import Literal, cast

Word = Literal["best", "latest"]
Which = int | Word

WORDS: tuple[Word, ...] = ("best", "latest")
MEANING = "a number, 'latest' or 'best' (the lowest validation error, of equals the newest)"


def parse(text: str) -> Which:
    """A step as it is written.

    >>> parse("best"), parse("780")
    ('best', 780)

    ValueError: it is none.
    """
    if text in WORDS:
        return cast("Word", text)
    if text.isascii() and text.isdecimal():
        return int(text)
    raise ValueError(f"there is no step {text!r}: give {MEANING}")


def split(text: str) -> tuple[str, Which | None]:
    """'WORKDIR:STEP' in two; None where no step is behind.

    >>> split("runs/mine:best"), split("runs/a:b")
    (('runs/mine', 'best'), ('runs/a:b', None))
    """
    folder, colon, step = text.rpartition(":")
    try:
        return (folder, parse(step)) if colon else (text, None)
    except ValueError:
        return text, None
