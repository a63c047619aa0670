"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from zfnet_jax.report.markup import href, markdown_text
from zfnet_jax.reproduce.gather import Report, Shown


def page(report: Report) -> str:
    parts = [f"# {markdown_text(report.name)}: a reproduction"]
    parts.append(
        "\n".join(f"* {name}: {markdown_text(fact)}" for name, fact in report.facts.items())
    )
    for chapter, shown in report.chapters:
        where = f" ({chapter.where})" if chapter.where else ""
        parts.append(f"## {chapter.title}{where}")
        for one in shown:
            parts += _entry(report, one)
    return "\n\n".join(parts) + "\n"


def atlas_links(maps: Mapping[str, Iterable[int]]) -> dict[str, list[tuple[str, str]]]:
    """(number, address) of each map, by layer."""
    return {
        layer: [(str(n), f"atlas/index.html#{href(layer)}/{n}") for n in numbers]
        for layer, numbers in maps.items()
    }


def _entry(report: Report, one: Shown) -> list[str]:
    parts = [f"### {one.entry.heading}"]
    if one.record is None:
        return [*parts, f"Not made: {markdown_text(one.reason)}."]
    if one.reason:
        parts.append(f"**Note:** {markdown_text(one.reason)}.")
    parts.append(f"*{one.entry.look}*")
    if one.entry.paper:
        parts.append(f"The paper: {one.entry.paper}")
    parts += [f"![{one.entry.heading}]({href(path)})" for path in one.files(".png")]
    for path in one.files(".md"):
        text = (report.folder / path).read_text(encoding="utf-8").strip()
        parts.append(text.replace("\n### ", "\n##### ").replace("## ", "#### ", 1))
    parts += map(markdown_text, one.record["notes"])
    parts += [
        f"[Open the page: {markdown_text(Path(path).parent.as_posix())}]({href(path)})"
        for path in one.pages()
    ]
    if report.has_atlas and one.record["maps"]:
        links = atlas_links(one.record["maps"])
        lines = (
            f"{markdown_text(layer)} " + " ".join(f"[{n}]({address})" for n, address in numbers)
            for layer, numbers in links.items()
        )
        parts.append("In the atlas: " + "; ".join(lines))
    commands = [command for record in one.chain for command in record["commands"]]
    if commands:
        parts.append("```bash\n" + "\n".join(dict.fromkeys(commands)) + "\n```")
    origin = one.record
    parts.append(
        f"Step {origin['step']}, net {origin['net']}, made {origin['finished']} on "
        f"{markdown_text(origin['device'])}, jax {origin['versions']['jax']}."
    )
    return parts
