"""Titles: what people call classes whose names are ids, such as 'tench' for n01440764.

A class is known by its name everywhere; its title is what people see, and may search by. WordNet
ids of ILSVRC have titles without being told; a file gives those of others.
"""

from __future__ import annotations

import codecs
import functools
import re
import types
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from zfnet_jax import names

_ILSVRC = Path(__file__).with_name("ilsvrc2012.tsv")
_WORDNET = re.compile(r"(n\d{8})\s+(\S.*)")
_LINE_END = re.compile(r"\r\n|\n|\r")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@functools.cache
def ilsvrc() -> Mapping[str, str]:
    """The 1,000 classes of ImageNet 2012, in its order: WordNet id and first words."""
    lines = _ILSVRC.read_text(encoding="utf-8").splitlines()
    return types.MappingProxyType(dict(line.split("\t") for line in lines))


@functools.cache
def shared() -> frozenset[str]:
    """Titles that several classes of ILSVRC have ('crane', a bird and a machine)."""
    counted = Counter(ilsvrc().values())
    return frozenset(title for title, count in counted.items() if count > 1)


def of_classes(class_names: Sequence[str], given: Mapping[str, str]) -> tuple[str, ...]:
    """What to show of each class: its title, or its name if it has none; fit to show, no two alike.

    Args:
      class_names: of all classes, in order.
      given: titles by name, which count before those of ILSVRC.
    """
    known = ilsvrc()
    titles = [given.get(name) or known.get(name) or name for name in class_names]
    return names.told_apart(titles, class_names)


def read_list(path: str | Path) -> list[tuple[str, str | None]]:
    """A list of classes: of each line that is not empty its name, and the title behind it if any.

    A line is 'name<TAB>title', 'n01440764 tench, Tinca tinca' (of which the first words are the
    title), or a name alone.

    Raises:
      ValueError: it is no text.
      OSError: it cannot be read.
    """
    lines = _LINE_END.split(_text(Path(path)))
    return [_entry(line.strip()) for line in lines if line.strip()]


def read(path: str | Path, class_names: Sequence[str]) -> dict[str, str]:
    """The titles, by name, that a file gives to classes; it may name others, and leave some out.

    Args:
      path: a list as `read_list` takes it, of names and titles, or of titles alone, one for each
        class in order.
      class_names: of all classes, in order.

    Raises:
      ValueError: it does not fit the classes, or is no text.
      OSError: it cannot be read.
    """
    entries = read_list(path)
    if not any(title for _, title in entries):
        if len(entries) != len(class_names):
            raise ValueError(
                f"{path} holds {len(entries)} titles, but there are {len(class_names)} classes:"
                " give one line for each, or lines of a name, a tab and a title"
            )
        return dict(zip(class_names, (name for name, _ in entries), strict=True))
    found: dict[str, str] = {}
    for name, title in entries:
        if title is None:
            raise ValueError(f"{path}: {names.fit(name)!r} has no title behind a tab, others have")
        if found.setdefault(_composed(name), title) != title:
            raise ValueError(f"{path} gives two titles to {names.fit(name)!r}")
    titles = {name: found[_composed(name)] for name in class_names if _composed(name) in found}
    if not titles:
        more = ["..."] if len(class_names) > 3 else []
        few = ", ".join([*map(names.fit, class_names[:3]), *more])
        raise ValueError(f"{path} names none of the {len(class_names)} classes ({few})")
    return titles


def _entry(line: str) -> tuple[str, str | None]:
    wordnet = _WORDNET.fullmatch(line)
    if wordnet:
        name, words = wordnet.groups()
        return name, words.split(",")[0].strip()
    name, tab, title = line.partition("\t")
    return name.strip(), title.strip() if tab and title.strip() else None


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} is not text in UTF-8: line {line} holds the byte {data[error.start]:#04x};"
            " save it as UTF-8"
        ) from error


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
