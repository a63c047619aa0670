"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zfnet_jax.reproduce.gather import Report, Shown

_ACTIVE = "\\`*_{}[]<>#|!~&"  # characters that Markdown or HTML would act on


def page(report: Report) -> str:
    parts = [f"# {escape(report.name)}: a reproduction"]
    parts.append("\n".join(f"* {name}: {escape(fact)}" for name, fact in report.facts.items()))
    for chapter, shown in report.chapters:
        where = f" ({chapter.where})" if chapter.where else ""
        parts.append(f"## {chapter.title}{where}")
        for one in shown:
            parts += _entry(report, one)
    return "\n\n".join(parts) + "\n"


def escape(text: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in _ACTIVE else letter for letter in text)


def atlas_links(maps: Mapping[str, Iterable[int]]) -> dict[str, list[tuple[str, str]]]:
    """(number, address) of each map, by layer."""
    return {
        layer: [(str(n), f"atlas/index.html#{quote(layer)}/{n}") for n in numbers]
        for layer, numbers in maps.items()
    }


def _entry(report: Report, one: Shown) -> list[str]:
    parts = [f"### {one.entry.heading}"]
    if one.record is None:
        return [*parts, f"Not made: {escape(one.reason)}."]
    if one.reason:
        parts.append(f"**Note:** {escape(one.reason)}.")
    parts.append(f"*{one.entry.look}*")
    if one.entry.paper:
        parts.append(f"The paper: {one.entry.paper}")
    parts += [f"![{one.entry.heading}]({quote(path)})" for path in one.files(".png")]
    for path in one.files(".md"):
        text = (report.folder / path).read_text(encoding="utf-8").strip()
        parts.append(text.replace("\n### ", "\n##### ").replace("## ", "#### ", 1))
    parts += map(escape, one.record["notes"])
    parts += [
        f"[Open the page: {Path(path).parent.as_posix()}]({quote(path)})" for path in one.pages()
    ]
    if report.has_atlas and one.record["maps"]:
        links = atlas_links(one.record["maps"])
        lines = (
            f"{escape(layer)} " + " ".join(f"[{n}]({address})" for n, address in numbers)
            for layer, numbers in links.items()
        )
        parts.append("In the atlas: " + "; ".join(lines))
    commands = [command for record in one.chain for command in record["commands"]]
    if commands:
        parts.append("```bash\n" + "\n".join(dict.fromkeys(commands)) + "\n```")
    origin = one.record
    parts.append(
        f"Step {origin['step']}, net {origin['net']}, made {origin['finished']} on "
        f"{escape(origin['device'])}, jax {origin['versions']['jax']}."
    )
    return parts
