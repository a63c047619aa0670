"""The report of a reproduction: every figure and table in the paper's order, as a web page and as
Markdown.

It is written from what the steps of a reproduction have left in WORKDIR/report/steps, and stands in
one folder, WORKDIR/report (of a checkpoint before the newest WORKDIR/report-stepN), which can be
moved and opens from the file system:

    index.html  report.css  report.md
    figures/  tables/  atlas/  photos/  steps/
"""

from __future__ import annotations

from pathlib import Path

from zfnet_jax.files import write_bytes, write_text
from zfnet_jax.reproduce import page_html, page_markdown
from zfnet_jax.reproduce.gather import gather

ASSETS = Path(__file__).with_name("assets")


def write_report(folder: Path) -> Path:
    """Writes index.html and report.md of the report in a folder; returns the former."""
    folder.mkdir(parents=True, exist_ok=True)
    report = gather(folder)
    write_bytes(folder / "report.css", (ASSETS / "report.css").read_bytes())
    write_text(folder / "report.md", page_markdown.page(report))
    write_text(folder / "index.html", page_html.page(report))
    return folder / "index.html"
