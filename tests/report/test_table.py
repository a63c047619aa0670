"""The one table in every form, against text written by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re

import pytest

from zfnet_jax.report.table import (
    Cell,
    Column,
    Number,
    Table,
    csv_text,
    from_json,
    html,
    latex,
    markdown,
    to_json,
    write,
)

TABLE = Table(
    columns=(
        Column("net"),
        Column("folder", not_in=("latex",)),
        Column("error", ".1f", ours="here"),
        Column("dead", ".1%"),
    ),
    rows=(
        ("a_b | c", "x\\y", Cell(Number(-1.25, low=-2, high=0.04), Number(3, 0.5)), 0.5),
        ("R&D 5%", None, Cell(paper=Number(4), reason="not run"), None),
        ("two\nlines", "z", Cell(Number(-0.04, 0.02), note="3 folds"), Cell(reason="not run")),
        ("far", "z", Cell(7, note="3 folds"), "none"),
    ),
    caption="Errors",
    setting="Here: 3 images.",
    remarks=("Less is better.",),
)


def test_markdown_by_hand():
    assert markdown([TABLE]) == "\n".join(
        [
            "## Errors",
            "",
            "Here: 3 images.",
            "",
            "| net | folder | error, paper | here | dead |",
            "| --- | ---: | ---: | ---: | ---: |",
            "| a_b \\| c | x\\\\y | 3.0 ± 0.5 | -1.2 [-2.0, 0.0] | 50.0% |",
            "| R&D 5% | - | 4.0 | - (1) | - |",
            "| two lines | z | - | 0.0 ± 0.0 (2) | - (1) |",
            "| far | z | - | 7.0 (2) | none |",
            "",
            "(1) not run",
            "(2) 3 folds",
            "",
            "- Less is better.",
        ]
    )


def test_latex_by_hand():
    assert latex([TABLE]) == "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            "",
            "\\begin{tabular}{lrrr}",
            "\\toprule",
            "net & error, paper & here & dead \\\\",
            "\\midrule",
            "a\\_b \\textbar{} c & 3.0 $\\pm$ 0.5 & $-$1.2 [$-$2.0, 0.0] & 50.0\\% \\\\",
            "R\\&D 5\\% & 4.0 & -- (1) & -- \\\\",
            "two lines & -- & 0.0 $\\pm$ 0.0 (2) & -- (1) \\\\",
            "far & -- & 7.0 (2) & none \\\\",
            "\\bottomrule",
            "\\end{tabular}",
            "",
            "\\par\\noindent Errors. Here: 3 images.",
            "",
            "\\par\\noindent (1) not run",
            "",
            "\\par\\noindent (2) 3 folds",
            "",
            "\\par\\noindent Less is better.",
        ]
    )


def test_latex_escapes_all_its_characters_and_keeps_hyphens():
    text = latex([Table((Column("\\~^{}$#_%&<>"),), (("conv-5 to -5 and 3-4",),))])
    (head,) = (line for line in text.splitlines() if "tilde" in line)
    assert head == (
        r"\textbackslash{}\textasciitilde{}\textasciicircum{}\{\}\$\#\_\%\&"
        r"\textless{}\textgreater{} \\"
    )
    assert "conv-5 to $-$5 and 3-4" in text
    assert "\n{}[2] \\\\" in latex([Table((Column("a"),), (("b",), ("[2]",)))])


def test_signs():
    table = Table(
        (Column("x", "+.1f"), Column("y", "+.1f", ours="here")),
        ((1.0, Cell(Number(2, 0.5), Number(-3))), (-0.01, Cell(Number(0, low=-1, high=0.01)))),
    )
    assert markdown([table]).splitlines()[2:] == [
        "| +1.0 | -3.0 | +2.0 ± 0.5 |",
        "| 0.0 | - | 0.0 [-1.0, 0.0] |",
    ]


def test_html_holds_tables_and_all_else_is_text():
    hostile = '<b>&"</b> [a](b) `c\\*` | *d*'
    made = html(markdown([dataclasses.replace(TABLE, rows=((hostile, "", 1, "</td>"),))]))
    assert made.startswith("<h4>Errors</h4>\n<p>Here: 3 images.</p>\n")
    assert "<td>&lt;b&gt;&amp;&quot;&lt;/b&gt; [a](b) `c\\*` | *d*</td>" in made
    assert ">&lt;/td&gt;</td>" in made
    assert '<div class="table"><table>' in made
    assert made.endswith("<ul>\n<li>Less is better.</li>\n</ul>\n")
    assert not re.search("<(b|a|img|code|em)[ >]", made)


def test_csv_has_every_number_and_reason():
    rows = list(csv.DictReader(io.StringIO(csv_text(TABLE))))
    first = ["a_b | c", "x\\y", "3", "0.5", "-1.25", "", "-2", "0.04", "", "", "0.5", ""]
    fields = ("paper", "paper spread", "here", "spread", "low", "high", "reason", "note")
    names = ["net", "folder", *(f"error {field}" for field in fields), "dead", "dead reason"]
    assert list(rows[0].items()) == list(zip(names, first, strict=True))
    assert rows[1]["folder"] == rows[1]["error here"] == rows[1]["dead"] == ""
    assert (rows[1]["error paper"], rows[1]["error reason"]) == ("4", "not run")
    assert rows[2]["net"] == "two\nlines"
    assert (rows[2]["error here"], rows[2]["error note"]) == ("-0.04", "3 folds")
    assert (rows[3]["error here"], rows[3]["dead"]) == ("7", "none")


def test_a_table_comes_back_from_json():
    table = dataclasses.replace(TABLE, name="errors", rows_to_read=2)
    for one in (TABLE, table):
        assert from_json(json.loads(json.dumps(to_json(one)))) == one


def test_rows_that_are_not_to_read_are_in_csv_and_json_alone():
    table = dataclasses.replace(TABLE, rows_to_read=1)
    assert "R&D" not in markdown([table])
    assert "not run" not in latex([table])
    assert csv_text(table) == csv_text(TABLE)
    assert len(to_json(table)["rows"]) == 4
    assert markdown([dataclasses.replace(TABLE, rows_to_read=0), TABLE]) == markdown([TABLE])


def test_tables_of_one_result_share_their_files(tmp_path):
    other = Table((Column("a"),), (("b",),), name="more", caption="More")
    paths = write(tmp_path / "new", "table9", [TABLE, other])
    assert sorted(path.name for path in paths) == sorted(
        ["table9.md", "table9.tex", "table9.csv", "table9-more.csv", "table9.json"]
    )
    assert sorted((tmp_path / "new").iterdir()) == sorted(paths)
    text = (tmp_path / "new" / "table9.md").read_text(encoding="utf-8")
    assert text == markdown([TABLE, other]) + "\n"
    assert text.endswith("\n\n### More\n\n| a |\n| --- |\n| b |\n")
    assert (tmp_path / "new" / "table9.tex").read_text().count(r"\bottomrule") == 2
    saved = json.loads((tmp_path / "new" / "table9.json").read_text())
    assert [from_json(one) for one in saved] == [TABLE, other]
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, "bad", [Table((Column("a"),), ((float("nan"),),))])
    assert not list(tmp_path.glob("bad*"))


def test_a_table_that_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="two columns have one title: a, a"):
        Table((Column("a"), Column("a")), ())
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table((Column("a"), Column("b")), (("c",),))
