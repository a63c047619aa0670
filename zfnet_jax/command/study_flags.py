"""The flags of a script from the options of its study."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from absl import flags

from zfnet_jax.studies.options import AnyOptions, Option, options_of

flags.disclaim_key_flags()  # they belong to the script, whose --help shows them

Chosen = TypeVar("Chosen", bound=AnyOptions)


def define(options: type[Chosen]) -> Callable[[], Chosen]:
    """Defines a flag for each option; returns what reads them once they are parsed.

    ValueError there: a list holds what is no number, or one that is too small.
    """
    holders = {one: _define(one) for one in options_of(options)}

    def read() -> Chosen:
        return options(**{one.name: _value(one, holder.value) for one, holder in holders.items()})

    return read


def _define(one: Option) -> flags.FlagHolder[Any]:
    kind, given = one.kind, {"required": one.required}
    default: Any = None if one.required else one.default
    if kind.several and kind.choices:
        return flags.DEFINE_multi_enum(one.flag, list(default), kind.choices, one.text, **given)
    if kind.several and kind.of is str:
        values = None if one.required else list(default)
        return flags.DEFINE_multi_string(one.flag, values, one.text, **given)
    if kind.several:
        values = [f"{value:g}" for value in default]
        return flags.DEFINE_list(one.flag, values, one.text, **given)
    if kind.choices:
        text = None if default is None else str(default)
        return flags.DEFINE_enum(one.flag, text, kind.choices, one.text, **given)
    if kind.of is bool:
        return flags.DEFINE_bool(one.flag, default, one.text, **given)
    if kind.of is int:
        bound: Any = one.lowest
        return flags.DEFINE_integer(one.flag, default, one.text, lower_bound=bound, **given)
    if kind.of is float:
        return flags.DEFINE_float(one.flag, default, one.text, lower_bound=one.lowest, **given)
    return flags.DEFINE_string(one.flag, default, one.text, **given)


def _value(one: Option, value: Any) -> Any:
    if one.kind.several:
        if one.kind.of is str:
            return tuple(value)
        return _numbers(one, value)
    if one.kind.choices and value is not None:
        return one.kind.of(value)
    return value


def _numbers(one: Option, texts: list[str]) -> tuple[float, ...]:
    """The numbers of a list, each once."""
    whole = one.kind.of is int
    try:
        numbers = [int(text) if whole else float(text) for text in texts]
    except ValueError:
        numbers = [math.nan]
    lowest = -math.inf if one.lowest is None else one.lowest
    if not all(math.isfinite(number) and number >= lowest for number in numbers):
        kind = "whole numbers" if whole else "numbers"
        least = "" if one.lowest is None else f" of at least {one.lowest:g}"
        raise ValueError(f"--{one.flag}={','.join(texts)}: give {kind}{least}, such as 15,30")
    return tuple(dict.fromkeys(numbers))
