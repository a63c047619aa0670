"""What a request asks for, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from zfnet_jax.explore.asked import OVERLAPS, RULES, Chosen, How, Shown
from zfnet_jax.explore.errors import RequestError

_LARGEST = 2**31  # a number in a request

T = TypeVar("T")


class Query:
    """What a request asks for, read and checked. RequestError: it is missing, or makes no sense."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str) -> str:
        if name not in self._given:
            raise RequestError(f"{name} is missing")
        return self._given[name]

    def number(self, name: str) -> int:
        text = self.text(name)
        try:
            number = int(text)
        except ValueError:
            number = _LARGEST
        if abs(number) >= _LARGEST:
            raise RequestError(f"{name} must be a whole number, not {text[:40]!r}")
        return number

    def maybe(self, name: str) -> int | None:
        return self.number(name) if name in self._given else None

    def flag(self, name: str) -> bool:
        return self._given.get(name, "0") not in ("", "0")

    def one_of(self, name: str, choices: tuple[T, ...]) -> T:
        """The first if it is not given."""
        given = self._given.get(name, choices[0])
        for choice in choices:
            if choice == given:
                return choice
        raise RequestError(f"{name} must be one of {', '.join(map(str, choices))}")

    @property
    def run(self) -> int:
        return self.maybe("run") or 0

    @property
    def step(self) -> int | None:
        return self.maybe("step")

    @property
    def photo(self) -> str:
        return self.text("photo")

    @property
    def shown(self) -> Shown:
        return Shown(self.run, self.step, self.photo)

    @property
    def chosen(self) -> Chosen:
        row, column = self.maybe("row"), self.maybe("column")
        place = None if row is None or column is None else (row, column)
        return Chosen(self.shown, self.text("layer"), self.number("map"), place)

    @property
    def how(self) -> How:
        return How(self.one_of("rule", RULES), self.one_of("overlap", OVERLAPS))

    @property
    def square(self) -> tuple[int, int, int]:
        """First row and column of a square, and its side."""
        return self.number("y"), self.number("x"), self.number("size")
