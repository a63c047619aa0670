"""A page that sets the reports of several runs side by side.

    index.html  report.css  figures/

It takes what the runs' own reports hold, and draws only the training curves anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from zfnet_jax.files import write_bytes, write_text
from zfnet_jax.report import figures, table
from zfnet_jax.report.markup import href, html_text
from zfnet_jax.report.page import check_free
from zfnet_jax.reproduce import page_html
from zfnet_jax.reproduce.gather import Report, Shown, gather
from zfnet_jax.reproduce.record import FOLDER
from zfnet_jax.reproduce.report import ASSETS
from zfnet_jax.runs import checkpoint
from zfnet_jax.runs.steps import Which
from zfnet_jax.studies.context import report_of
from zfnet_jax.studies.errors.training_curves import curves
from zfnet_jax.training.metrics import read_metrics

_TITLE = "Runs side by side"
_ALONE = ("training", "fig3", "atlas")  # what says nothing more side by side


def write_comparison(workdirs: Sequence[Path], out: Path, step: Which | None = None) -> Path:
    """Writes the page; returns its address.

    Args:
      workdirs: folders of two runs or more, each with a report of its own.
      out: the page's folder; made if missing.
      step: of the checkpoint that each report must be of; of any if None.

    Raises:
      ValueError: there are fewer than two runs, two of one name, a report that an earlier
        version made or of another checkpoint than `step`, or another page in `out`.
      FileNotFoundError: a run has no report.
    """
    if len(workdirs) < 2:
        raise ValueError("a comparison needs at least two runs: repeat --workdir")
    steps = [checkpoint.step_of(workdir, step) for workdir in workdirs]
    folders = [_report_of(*each) for each in zip(workdirs, steps, strict=True)]
    for workdir, wanted, folder in zip(workdirs, steps, folders, strict=True):
        if not (folder / FOLDER / "plan.json").exists():
            of, flag = ("", "") if wanted is None else (f" of step {wanted}", f" --step={wanted}")
            raise FileNotFoundError(
                f"{workdir} has no report{of}: run python -m scripts.reproduce"
                f" --workdir={workdir}{flag}"
            )
    reports = [gather(folder) for folder in folders]
    for workdir, wanted, report in zip(workdirs, steps, reports, strict=True):
        if not report.chapters:
            raise ValueError(
                f"the report of {workdir} was made by an earlier version:"
                f" run python -m scripts.reproduce --workdir={workdir}"
            )
        if wanted not in (None, report.step):
            raise ValueError(
                f"the report of {workdir} is of step {report.step}, not {wanted}: run python -m"
                f" scripts.reproduce --workdir={workdir} --step={wanted}"
            )
    names = [report.name for report in reports]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have one name: {', '.join(names)}")
    check_free(out, f"<title>{_TITLE}</title>")
    (out / "figures").mkdir(parents=True, exist_ok=True)
    write_bytes(out / "report.css", (ASSETS / "report.css").read_bytes())
    write_text(out / "index.html", _page(workdirs, reports, out))
    return out / "index.html"


def _report_of(workdir: Path, step: int | None) -> Path:
    """The checkpoint's own; where it has none the run's, which was all there was before."""
    own = report_of(workdir, step)
    return own if (own / FOLDER / "plan.json").exists() else workdir / "report"


def _page(workdirs: Sequence[Path], reports: Sequence[Report], out: Path) -> str:
    sections, items = [_training(workdirs, reports, out)], []
    by_step = [
        {one.step: one for _, shown in report.chapters for one in shown} for report in reports
    ]
    for step in dict.fromkeys(name for shown in by_step for name in shown):
        shown = [one.get(step) for one in by_step]
        made = [one for one in shown if one and one.record]
        if made and step not in _ALONE:
            sections.append(_entry(made[0], list(zip(reports, shown)), out))
            items.append(f'<li><a href="#{step}">{html_text(made[0].entry.heading)}</a></li>')
    first = '<li><a href="#training">Training</a></li><li><a href="#config">What differs</a></li>'
    return page_html.fill(
        title=_TITLE,
        heading=_TITLE,
        facts={
            report.name: report.facts.get("Checkpoint", "nothing made yet") for report in reports
        },
        contents=f"<div><h2>Runs</h2><ul>{first}</ul></div>"
        f"<div><h2>Figures and tables</h2><ul>{''.join(items)}</ul></div>",
        main="\n".join([_config(reports), *sections]),
        end="Each run's own report says where its figures and tables come from.",
    )


def _config(reports: Sequence[Report]) -> str:
    """Facts and fields of the configs in which the runs differ."""
    rows = []
    for part in ([report.facts for report in reports], [report.config for report in reports]):
        for field in dict.fromkeys(name for one in part for name in one):
            values = [page_html.text_of(one[field]) if field in one else "-" for one in part]
            if len(set(values)) > 1:
                cells = "".join(f"<td>{html_text(value)}</td>" for value in values)
                rows.append(f"<tr><td>{html_text(field)}</td>{cells}</tr>")
    head = "".join(f"<th>{html_text(report.name)}</th>" for report in reports)
    body = (
        f'<div class="table"><table class="config"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    return _article("config", "What differs", body if rows else "<p>Nothing but their names.</p>")


def _training(workdirs: Sequence[Path], reports: Sequence[Report], out: Path) -> str:
    records = {}
    for workdir, report in zip(workdirs, reports, strict=True):
        if (workdir / "metrics.jsonl").exists():
            records[report.name] = read_metrics(workdir)
    if not records:
        return _article("training", "Training", "<p>No run has training curves.</p>")
    with figures.use("screen"):
        figure = curves(records)
    path = "figures/training.png"
    figures.save(figure, out / path)
    return _article("training", "Training", page_html.picture(out, path, "Training"))


def _entry(first: Shown, pairs: Iterable[tuple[Report, Shown | None]], out: Path) -> str:
    """An entry of all reports, of which `first` has something to show."""
    entry = first.entry
    parts = [f'<p class="look">{html_text(entry.look)}</p>', '<div class="side">']
    for number, (report, one) in enumerate(pairs):
        own = href(os.path.relpath(report.folder / "index.html", out))
        link = f'<a href="{own}#{first.step}">{html_text(report.name)}</a>'
        parts.append(f"<div><h4>{link}</h4>")
        if one is None or one.record is None:
            reason = one.reason if one else "its report has no such step"
            parts.append(f'<p class="missing">Not made: {html_text(reason)}.</p></div>')
            continue
        if one.reason:
            parts.append(f'<p class="missing">{html_text(page_html.sentence(one.reason))}</p>')
        for path in one.files(".png"):
            copy = f"figures/{number}-{Path(path).name}"
            shutil.copyfile(report.folder / path, out / copy)
            parts.append(page_html.picture(out, copy, f"{report.name}, {entry.heading}"))
        for path in one.files(".md"):
            parts.append(table.html((report.folder / path).read_text(encoding="utf-8")))
        parts += [f'<p class="note">{html_text(note)}</p>' for note in one.record["notes"]]
        parts.append("</div>")
    return _article(first.step, entry.heading, "\n".join([*parts, "</div>"]))


def _article(name: str, heading: str, body: str) -> str:
    return f'<article id="{name}">\n<h3>{html_text(heading)}</h3>\n{body}\n</article>'
