"""Names as people give them to classes: of any bytes, in any script, alike, long."""

from __future__ import annotations

import os
import re
import unicodedata

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from zfnet_jax import names

HARD = (
    "caf\udce9",  # Latin-1
    "cafe\u0301",
    "caf\u00e9",
    "costs $5 to $6",
    "a|b<c>\\d_e_ *f* `g` [h](i) &amp; ~j~ {k} #l %m ^n",
    "line\nbreak\ttab\x1b[31m",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "\u0633\u0644\u0627\u0645",
    "\u732b\u3068\u72ac",
    "\U0001f408\u200d\U0001f408",
    "\u202egnp.exe",
    " two  spaces ",
    "name " * 12,
    "x" * 200,
    "crane",
    "Crane",
    "crane (15)",
    "-",
    "12",
)

_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[tnr])")
_FILE_NAMES = st.binary(min_size=1, max_size=40).map(
    lambda data: os.fsdecode(data.replace(b"/", b"|").replace(b"\0", b"0"))
)
_TEXTS = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=60)
LISTS = st.lists(st.one_of(st.sampled_from(HARD), _FILE_NAMES, _TEXTS), min_size=2, max_size=6)


def some(count: int) -> settings:
    """Settings of a property: so many examples, or ZFNET_NAMES, the same in every run."""
    return settings(
        max_examples=int(os.environ.get("ZFNET_NAMES", count)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
    )


def given_by(shown: str) -> str:
    """The name, composed, of which `names.fit` made this; of names without a backslash."""
    return _ESCAPE.sub(_character, shown)


def _character(escape: re.Match[str]) -> str:
    letter = escape[0].encode().decode("unicode_escape")
    byte = escape[0].startswith("\\x") and ord(letter) >= 0x80
    return chr(0xDC00 + ord(letter)) if byte else letter


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def look(name: str) -> str:
    return unicodedata.normalize("NFKC", names.fit(name)).casefold()
