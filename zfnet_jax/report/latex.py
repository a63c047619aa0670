"""Tables in LaTeX, for a document that uses the package booktabs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zfnet_jax.report.table import NONE

PREAMBLE = "% needs \\usepackage{booktabs}"


def tabular(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A tabular, its first column left-aligned and the others right-aligned."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(escape(cell) for cell in cells) + r" \\"

    return "\n".join(
        [
            f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            *map(line, rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def paragraph(text: str) -> str:
    """A line of text under a table."""
    return f"\\par\\noindent {escape(text)}"


def escape(text: str) -> str:
    """Text with LaTeX's own characters escaped; a dash, minuses and plus-minus as such."""
    for character in "&%_#$":
        text = text.replace(character, f"\\{character}")
    text = re.sub(r"(?<!\w)-(?=\d)", "$-$", text).replace("±", r"$\pm$")
    if text == NONE or text.startswith(f"{NONE} ("):
        return "--" + text[1:]
    return text
