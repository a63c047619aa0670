"""Flags that are lists of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence


def counts(flag: str, values: Sequence[str]) -> list[int]:
    """Positive whole numbers, each once. ValueError names the flag."""
    numbers = [int(value) if value.isascii() and value.isdigit() else 0 for value in values]
    if 0 in numbers:
        raise ValueError(f"--{flag}={','.join(values)}: positive whole numbers, such as 15,30")
    return list(dict.fromkeys(numbers))


def grid(flag: str, values: Sequence[str]) -> tuple[float, ...]:
    """Positive numbers to choose from, smallest first. ValueError names the flag."""
    try:
        numbers = tuple(sorted(float(value) for value in values))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise ValueError(f"--{flag}={','.join(values)}: positive numbers, such as 0.1,1,10")
    return numbers
