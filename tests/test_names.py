"""Names of classes made fit to show; what pages, tables and exports show of any name reads back."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from tests.any_names import HARD, LISTS, composed, given_by, look, some
from zfnet_jax import files, names
from zfnet_jax.data import titles
from zfnet_jax.importers import own
from zfnet_jax.report import markup, table
from zfnet_jax.report.table import Column, Table
from zfnet_jax.reproduce import page_html, page_markdown
from zfnet_jax.reproduce.gather import Report
from zfnet_jax.studies.errors.scores import scores
from zfnet_jax.studies.features.atlas import as_script
from zfnet_jax.studies.options import command
from zfnet_jax.studies.saved import load


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("golden retriever", "golden retriever"),
        ("caf\udce9", r"caf\xe9"),
        ("caf\x85", r"caf\u0085"),  # a character of Unicode, not that byte
        ("cafe\u0301", "caf\u00e9"),
        ("two\nlines", r"two\nlines"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        (" a  b ", r"\x20a \x20b\x20"),
        ("a|b<c>\\d$", "a|b<c>\\d$"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
    ],
)
def test_a_name_is_one_line_of_printable_text(name, shown):
    assert names.fit(name) == shown == names.fit(shown)


def test_names_that_look_alike_are_told_apart():
    alike = ["crane", "crane", "caf\u00e9", "cafe\u0301", "tench", "Tench"]
    ids = ["n02012849", "n03126707", "a", "a", "b", "c"]
    assert names.told_apart(alike, ids) == (
        *("crane (n02012849)", "crane (n03126707)"),
        *("caf\u00e9 (a) (2)", "caf\u00e9 (a) (3)"),
        *("tench (b)", "Tench (c)"),
    )
    assert names.told_apart(["a (1)", "a", "a"]) == ("a (1) (0)", "a (1) (1)", "a (2)")
    assert names.unique(["crane", "cat", "crane"]) == ("crane (0)", "cat", "crane (2)")


def test_the_middle_of_a_long_name_is_left_out():
    assert names.shortened("black-and-tan coonhound", 23) == "black-and-tan coonhound"
    assert names.shortened("black-and-tan coonhound", 13) == "black-an\u2026ound"
    assert [names.shortened("abcdef", n) for n in (1, 2, 3)] == ["\u2026", "a\u2026", "ab\u2026"]


@some(30)
@given(LISTS)
def test_any_names_are_shown_apart_and_read_back(given_names):
    shown = names.told_apart(given_names)
    assert len(set(map(look, shown))) == len(given_names) == len(shown)
    assert names.told_apart(shown) == shown
    for name, one in zip(given_names, shown, strict=True):
        assert names.fit(one) == one
        one.encode()
        if "\\" not in name and one == names.fit(name):
            assert given_by(one) == composed(name)
        for letters in range(1, 9):
            assert len(names.shortened(one, letters)) <= letters


class _Words(html.parser.HTMLParser):
    """The text of the elements of one tag."""

    def __init__(self, page: str, tag: str) -> None:
        super().__init__()
        self.tag, self.inside, self.found = tag, False, []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 (of the parser)
        if tag == self.tag:
            self.inside = True
            self.found.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != self.tag

    def handle_data(self, data):
        if self.inside:
            self.found[-1] += data


def _of_latex(text: str) -> str:
    """What a cell in LaTeX says."""
    text = text.removeprefix("{}").replace("$-$", "-").replace(r"$\pm$", "\u00b1")
    text = re.sub("^--", "-", text).replace("-{}", "-")  # a name that looks like 'not measured'
    words = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    words |= {"textless": "<", "textgreater": ">", "textbar": "|"}
    return re.sub(r"\\(\w+)\{\}|\\(.)", lambda m: words[m[1]] if m[1] else m[2], text)


@some(8)
@given(LISTS)
def test_any_names_read_back_from_tables_pages_and_exports(given_names):
    shown = names.told_apart(given_names)
    rows = tuple((name, float(number)) for number, name in enumerate(shown))
    made = Table((Column("class"), Column("x", ".0f")), rows, setting="; ".join(given_names))

    def cells(page: str) -> list[str]:
        return _Words(page, "td").found[::2]

    text = table.markdown([made])
    text.encode()
    gfm = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    assert cells(table.html(text)) == cells(gfm.render(text)) == list(shown)
    lines = table.latex([made]).splitlines()
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    found = [_of_latex(line.rsplit(" & ", 1)[0]) for line in body]
    assert found == list(shown)

    raw = Table(made.columns, tuple((name, 0.0) for name in given_names))  # to compute with
    written = io.StringIO(table.csv_text(raw), newline="")
    assert [row[0] for row in csv.reader(written)][1:] == [*map(names.encodable, given_names)]
    assert table.from_json(json.loads(json.dumps(table.to_json(raw)))) == raw
    script = as_script("ATLAS", given_names).removeprefix("ATLAS=").removesuffix(";\n")
    said = own.description({}, tuple(given_names), 0, {}, {})
    assert json.loads(script) == json.loads(said)["class_names"] == given_names

    name = given_names[0]
    report = Report(files.Path("."), name, {"Classes": given_names[1]}, {}, None, (), False)
    page, lined = page_html.page(report), [names.line(one) for one in given_names[:2]]
    page.encode()
    assert [_Words(page, "h1").found, _Words(page, "dd").found] == [[one] for one in lined]
    (heading,) = _Words(gfm.render(page_markdown.page(report)), "h1").found
    assert heading == f"{lined[0]}: a reproduction".strip()
    assert "\n" not in command("mine", f"--workdir={name}").encode().decode()


@pytest.mark.parametrize("name", ["caf\udce9 'x", "a\\b c", "two\nlines", "\u732b;rm", "\x1b"])
def test_a_command_in_the_report_is_what_a_shell_reads(name):
    import subprocess

    words = command("mine", f"--workdir={name}").removeprefix("python -m scripts.mine ")
    said = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
    assert said.stdout == files.os.fsencode(f"--workdir={name}")


def test_a_result_keeps_names_and_shows_titles(tmp_path):
    folder = tmp_path / "studies" / "occlusion" / "x"
    folder.mkdir(parents=True)
    class_names = [*HARD, "n02012849", "n03126707", "mine"]
    files.write_arrays(folder / "arrays.npz", {"class_names": np.array(class_names)})
    files.write_json(folder / "about.json", {})
    files.write_json(tmp_path / "run.json", {"class_titles": {"mine": "a gold mine"}})
    result = load(folder)
    assert result.arrays["class_names"].tolist() == class_names
    shown = result.drawn["class_names"].tolist()
    assert shown == list(titles.of_classes(class_names, {"mine": "a gold mine"}))
    assert shown[-3:] == ["crane (n02012849)", "crane (n03126707)", "a gold mine"]


def test_scores_keep_a_row_for_each_of_two_classes_of_one_name():
    from zfnet_jax.studies.errors.options import ScoreOptions
    from zfnet_jax.studies.errors.predictions import Predictions, outcomes

    labels = np.array([0, 1, 2])
    arrays = outcomes(np.eye(3, dtype=np.float32)[[0, 1, 1]], labels)
    info = {"class_names": ["crane", "cat", "crane"]}
    found = scores(Predictions(info=info, probabilities=None, **arrays), ScoreOptions())
    assert found["per_class"] == {"crane (0)": 1.0, "cat": 1.0, "crane (2)": 0.0}


def test_addresses_of_files_of_any_name():
    assert markup.href("figures/caf\udce9 #1?.png") == "figures/caf%E9%20%231%3F.png"
