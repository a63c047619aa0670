"""Names that people gave, made fit to show.

A class is called as its folder is: in any script, of any length, in bytes that are no UTF-8. What
pages, figures and tables show of it is one line of printable text; what is saved keeps the name as
it is.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

# Not printable to Python, but parts of words: joiners (Persian, Indian scripts, emoji) and the
# ideographic space.
_KEPT = "\u200c\u200d\u3000"
_SPACE = re.compile(r"\A | \Z|(?<= ) ")  # a space that no page would show

_SURROGATE = re.compile("[\ud800-\udfff]")


def fit(name: object) -> str:
    """A name as one line of printable text, composed (NFC).

    What cannot be shown stands as an escape, as in Python: `\\n`, `\\x1b`, `\\u202e` (which would
    turn the direction of the text around it), `\\xe9` for a byte that is not UTF-8, `\\x20` for a
    space that pages would drop. A name that is fit already stays as it is.
    """
    shown = ""
    apart = True  # where a mark (an accent) would fall on what is no letter of the name
    for character in unicodedata.normalize("NFC", str(name)):
        plain = _is_plain(character) and not (apart and unicodedata.combining(character))
        shown += character if plain else _escape(character)
        apart = not plain
    return _SPACE.sub(r"\\x20", shown)


def line(text: object) -> str:
    """A sentence with names in it as one line of printable text, spaces in a row as one."""
    words = " ".join(str(text).split())
    return "".join(one if _is_plain(one) else _escape(one) for one in words)


def encodable(text: str) -> str:
    """Text as it is, but for escapes where it has what UTF-8 has not."""
    return _SURROGATE.sub(lambda found: _escape(found[0]), text)


def told_apart(names: Iterable[object], tags: Iterable[object] = ()) -> tuple[str, ...]:
    """`fit` names, no two alike: those that look the same are followed by their tags in brackets.

    Args:
      names: of all classes, in order.
      tags: of each; their numbers, from 0 on, where tags are not given or alike.
    """
    return _distinct([fit(name) for name in names], [fit(tag) for tag in tags], _look)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names as they are, but for those that several classes have: 'crane (134)'."""
    return _distinct(list(names), [], str)


def _distinct(names: list[str], tags: list[str], key: Callable[[str], str]) -> tuple[str, ...]:
    numbers = [str(number) for number in range(len(names))]
    # Numbers again and again, as 'a (1)' may be a name, too.
    for its in itertools.chain([tags] if tags else [], itertools.repeat(numbers)):
        counts = Counter(map(key, names))
        if len(counts) == len(names):
            break
        names = [
            f"{name} ({tag})" if counts[key(name)] > 1 and name != tag else name
            for name, tag in zip(names, its, strict=True)
        ]
    return tuple(names)


def shortened(name: str, letters: int) -> str:
    """A name of at most so many letters, its middle left out: names often differ at their ends."""
    if len(name) <= letters:
        return name
    tail = max(0, letters - 1) // 3
    head = max(0, letters - 1 - tail)
    end = name[len(name) - tail :]
    while end and unicodedata.combining(end[0]):  # its letter is gone
        end = end[1:]
    return f"{name[:head].rstrip()}\u2026{end.lstrip()}"


def _is_plain(character: str) -> bool:
    return character.isprintable() or character in _KEPT


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file's name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if 0x80 <= code <= 0xFFFF:
        return f"\\u{code:04x}"
    return character.encode("unicode_escape").decode("ascii")


def _look(name: str) -> str:
    """What two names have in common that a reader, or a search, takes for one."""
    return unicodedata.normalize("NFKC", name).casefold()
