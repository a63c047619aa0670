"""The report as a web page: static, without scripts, nothing from outside its folder."""

from __future__ import annotations

import html
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from zfnet_jax.report import table
from zfnet_jax.report.markup import href, html_text
from zfnet_jax.reproduce.contents import Chapter
from zfnet_jax.reproduce.gather import Report, Shown
from zfnet_jax.reproduce.page_markdown import atlas_links

_TEMPLATE = Path(__file__).with_name("assets") / "index.html"
_OF_CONFIG = (
    "Every field of the training's config, as it was run.",
    "Every field of the run's config; the net was imported, so those of its training are defaults.",
)
_SMALL = 1200  # pixels: a narrower picture is shown at half its size, not stretched


def page(report: Report) -> str:
    """The whole page of a run."""
    contents = "\n".join(_contents(chapter, shown) for chapter, shown in report.chapters)
    rows = "\n".join(
        f"<tr><td>{html_text(field)}</td><td>{html_text(text_of(value))}</td></tr>"
        for field, value in report.config.items()
    )
    config = (
        '<section>\n<h2>Config</h2>\n<article id="config">\n'
        f'<p class="look">{_OF_CONFIG["Imported from" in report.facts]}</p>\n'
        '<details class="config"><summary>All fields</summary>'
        f'<div class="table"><table>\n{rows}\n</table></div></details>\n</article>\n</section>'
    )
    chapters_html = [_chapter(report, chapter, shown) for chapter, shown in report.chapters]
    return fill(
        title=f"{report.name}: a reproduction",
        heading=report.name,
        facts=report.facts,
        contents=contents,
        main="\n".join([*chapters_html, config]),
        end="Each figure and table says below it from which checkpoint, data and commands it comes;"
        ' <a href="report.md">the same as Markdown</a>.',
    )


def fill(
    *, title: str, heading: str, facts: Mapping[str, str], contents: str, main: str, end: str
) -> str:
    """The page's frame; `contents`, `main` and `end` are HTML, the others text."""
    template = string.Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        title=html_text(title),
        heading=html_text(heading),
        facts="\n".join(
            f"<div><dt>{html_text(name)}</dt><dd>{html_text(fact)}</dd></div>"
            for name, fact in facts.items()
        ),
        contents=contents,
        main=main,
        end=end,
    )


def _contents(chapter: Chapter, shown: Sequence[Shown]) -> str:
    items = []
    for one in shown:
        heading = html_text(one.entry.heading)
        if one.record is None:
            heading += ' <span class="quiet">not made</span>'
        items.append(f'<li><a href="#{one.step}">{heading}</a></li>')
    return f"<div><h2>{html_text(chapter.title)}</h2><ul>{''.join(items)}</ul></div>"


def _chapter(report: Report, chapter: Chapter, shown: Sequence[Shown]) -> str:
    head = f"<h2>{html_text(chapter.title)} <span>{html_text(chapter.where)}</span></h2>"
    entries = "\n".join(_entry(report, one) for one in shown)
    return f"<section>\n{head}\n{entries}\n</section>"


def _entry(report: Report, one: Shown) -> str:
    parts = [f'<article id="{one.step}">', f"<h3>{html_text(one.entry.heading)}</h3>"]
    if one.record is None:
        parts.append(f'<p class="missing">Not made: {html_text(one.reason)}.</p>')
        return "\n".join([*parts, "</article>"])
    if one.reason:
        parts.append(f'<p class="missing">{html_text(sentence(one.reason))}</p>')
    parts.append(f'<p class="look">{html_text(one.entry.look)}</p>')
    if one.entry.paper:
        parts.append(f'<p class="paper"><b>The paper</b> {html_text(one.entry.paper)}</p>')
    parts += [_picture(report, path, one) for path in one.files(".png")]
    for path in one.files(".md"):
        parts.append(table.html((report.folder / path).read_text(encoding="utf-8")))
    parts += [f'<p class="note">{html_text(note)}</p>' for note in one.record["notes"]]
    parts += [_page(path) for path in one.pages()]
    parts.append(_atlas(report, one))
    parts.append(_origin(one))
    return "\n".join([*filter(None, parts), "</article>"])


def _picture(report: Report, path: str, one: Shown) -> str:
    return picture(report.folder, path, one.entry.heading)


def picture(folder: Path, path: str, heading: str) -> str:
    """A figure at a path in the page's folder, which links to itself."""
    with Image.open(folder / path) as image:
        width, height = image.size
    small = ' class="small"' if width < _SMALL else ""
    return (
        f'<figure{small}><a href="{href(path)}"><img src="{href(path)}" width="{width}"'
        f' height="{height}" alt="{html_text(heading)}"></a></figure>'
    )


def _page(path: str) -> str:
    name = " ".join(Path(path).parts[:-1])
    return f'<p><a class="open" href="{href(path)}">Open the page: {html_text(name)}</a></p>'


def _atlas(report: Report, one: Shown) -> str:
    if not (report.has_atlas and one.record and one.record["maps"]):
        return ""
    lines = []
    for layer, links in atlas_links(one.record["maps"]).items():
        numbers = " ".join(f'<a href="{address}">{number}</a>' for number, address in links)
        lines.append(f"<li><b>{html_text(layer)}</b> {numbers}</li>")
    title = "These maps in the atlas"
    return f'<details class="maps"><summary>{title}</summary><ul>{"".join(lines)}</ul></details>'


def _origin(one: Shown) -> str:
    """Checkpoint, data, commands and files."""
    record = one.record or {}
    epoch = "" if record["epoch"] is None else f" (epoch {record['epoch']:g})"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    facts = {
        "Checkpoint": f"{record['run']}, step {record['step']}{epoch}, net {record['net']}",
        "Made": f"{record['finished']} in {record['seconds']:.1f} s on {record['device']}",
        "Versions": versions,
    }
    rows = [f"<div><dt>{name}</dt><dd>{html_text(text)}</dd></div>" for name, text in facts.items()]
    for step in one.chain:
        options = {name: value for name, value in step["options"].items() if value is not None}
        if options:
            text = html_text(json.dumps(options, ensure_ascii=False))
            rows.append(f"<div><dt>{html_text(step['name'])}</dt><dd>{text}</dd></div>")
    commands = dict.fromkeys(command for step in one.chain for command in step["commands"])
    shell = f"<pre>{html.escape(chr(10).join(commands))}</pre>" if commands else ""
    files = [
        f'<a href="{href(path)}">{html_text(Path(path).name)}</a>'
        for kind in (".png", ".pdf", ".npz", ".md", ".tex", ".csv", ".json")
        for path in one.files(kind)
    ]
    links = f'<p class="files">{" ".join(files)}</p>' if files else ""
    return (
        '<details class="origin"><summary>Where it comes from</summary>'
        f"<dl>{''.join(rows)}</dl>{shell}{links}</details>"
    )


def sentence(text: str) -> str:
    """Text with a capital and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def text_of(value: Any) -> str:
    """A field of a config as text."""
    return value if isinstance(value, str) else json.dumps(value)
