"""A study's options, said once.

A frozen dataclass names every choice that the study's result depends on. From it come the flags of
its script, what tells its results from others, and the command that a report prints:

    @dataclasses.dataclass(frozen=True)
    class Options:
        images: tuple[str, ...] = option((), "A photo; may be repeated.", flag="image", file=True)
        square: int | None = option(None, "Side of the square, pixels; 48 of 224.", lowest=1)

A field is a str, int, float or bool, one of several strings (a `Literal`), any of these or None, or
a tuple of strings (a flag that may be repeated) or of numbers (a flag with commas).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import shlex
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from zfnet_jax import entry

_SETTING = "option"  # the key of a field's metadata


class AnyOptions(Protocol):
    """An instance of a dataclass whose fields are `option`s."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


class Setting(NamedTuple):
    """What an option says of itself, beside its type and default."""

    text: str
    flag: str | None
    lowest: int | float | None
    required: bool
    file: bool


class Kind(NamedTuple):
    """The type of an option: of its values, the values allowed if few, and whether it has several
    or may be None."""

    of: type
    choices: tuple[str, ...] = ()
    several: bool = False


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a study.

    Attributes:
      name: of the dataclass's field.
      flag: of a script.
      text: one line of help.
      default: None where the net or its data decide.
      kind: of its values.
      lowest: numbers below are refused.
      required: whether a script cannot do without it.
      file: whether it names files: their content counts, and what they are called, not where they
        lie.
    """

    name: str
    flag: str
    text: str
    default: Any
    kind: Kind
    lowest: int | float | None
    required: bool
    file: bool


def option(
    default: Any,
    text: str,
    *,
    flag: str | None = None,
    lowest: int | float | None = None,
    required: bool = False,
    file: bool = False,
) -> Any:
    """A field of a study's options; see `Option`. The flag has the field's name if not given."""
    setting = Setting(text, flag, lowest, required, file)
    return dataclasses.field(default=default, metadata={_SETTING: setting})


@functools.cache
def options_of(options: type[AnyOptions]) -> tuple[Option, ...]:
    """The options that a study has, in order."""
    kinds = typing.get_type_hints(options)
    result = []
    for field in dataclasses.fields(options):
        setting: Setting = field.metadata[_SETTING]
        result.append(
            Option(
                name=field.name,
                flag=setting.flag or field.name,
                text=setting.text,
                default=field.default,
                kind=_kind(kinds[field.name]),
                lowest=setting.lowest,
                required=setting.required,
                file=setting.file,
            )
        )
    return tuple(result)


def identity(options: AnyOptions) -> dict[str, Any]:
    """All that tells results of these options from others', as JSON values; files by content.

    Raises:
      OSError: a file cannot be read.
    """
    result = {}
    for one in options_of(type(options)):
        value = getattr(options, one.name)
        if one.file:
            paths = value if one.kind.several else (value,)
            result[one.name] = [[short_name(path), content_digest(path)] for path in paths if path]
        else:
            result[one.name] = list(value) if isinstance(value, tuple) else value
    return result


def in_words(options: AnyOptions) -> dict[str, Any]:
    """The options as JSON values, files by their names."""
    return {
        one.name: list(value) if isinstance(value, tuple) else value
        for one in options_of(type(options))
        for value in (getattr(options, one.name),)
    }


def arguments(options: AnyOptions) -> list[str]:
    """The flags that set these options, those that have their defaults left out."""
    result: list[str] = []
    for one in options_of(type(options)):
        value = getattr(options, one.name)
        if value == one.default or value is None:
            continue
        result += _flags(one, value)
    return result


def command(script: str, *given: str | Path) -> str:
    """A command of this project as it is typed in a shell: `python -m scripts.NAME ...`, of an
    installed package `zfnet-jax NAME ...`."""
    return " ".join([entry.typed(script), *(_word(str(one)) for one in given)])


def content_digest(path: str | Path) -> str:
    """Short digest of a whole file, such as a photo."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def short_name(path: str | Path) -> str:
    """Folder and file: what a result calls a file by, wherever they lie."""
    return "/".join(Path(path).resolve().parts[-2:])


def _word(text: str) -> str:
    """A word for a shell, bytes that cannot be typed as bash and zsh write them."""
    if text.isprintable():
        return shlex.quote(text)
    plain = (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return "$'" + "".join(f"\\{one}" if one in "\\'" else one for one in plain) + "'"


def _flags(one: Option, value: Any) -> Iterator[str]:
    if one.kind.of is bool:
        yield f"--{one.flag}" if value else f"--no{one.flag}"
    elif one.kind.several and one.kind.of is str:
        yield from (f"--{one.flag}={each}" for each in value)
    elif one.kind.several:
        yield f"--{one.flag}={','.join(_number(each) for each in value)}"
    else:
        yield f"--{one.flag}={value if one.kind.of is str else _number(value)}"


def _number(value: float) -> str:
    """The shortest text that reads as this number again."""
    return min((f"{value:g}", repr(value)), key=lambda text: (float(text) != value, len(text)))


def _kind(hint: Any) -> Kind:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):  # X | None, of a Literal too
        (hint,) = (one for one in typing.get_args(hint) if one is not types.NoneType)
    origin = typing.get_origin(hint)
    if origin is tuple:
        inner = _kind(typing.get_args(hint)[0])
        return inner._replace(several=True)
    if origin is Literal:
        choices = typing.get_args(hint)
        return Kind(type(choices[0]), tuple(map(str, choices)))
    return Kind(hint)
