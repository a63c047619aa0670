"""Text with names in it as HTML and Markdown, and files' names as addresses."""

from __future__ import annotations

import html
import os
import urllib.parse
from pathlib import Path

from zfnet_jax import names

_ACTIVE = "\\`*_{}[]<>#|!~&$"  # characters that Markdown, mathematics in it, or HTML would act on


def html_text(text: object) -> str:
    """One line of text that a page shows as it is."""
    return html.escape(names.line(text))


def markdown_text(text: object) -> str:
    """One line of text that Markdown shows as it is."""
    return "".join(f"\\{one}" if one in _ACTIVE else one for one in names.line(text))


def href(path: str | Path) -> str:
    """The address of a file, of any name, from the page's folder."""
    return urllib.parse.quote(os.fsencode(Path(path).as_posix()))
