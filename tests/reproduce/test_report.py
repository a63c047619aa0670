"""The report of a reproduction: what it says, and as a reader meets it in headless Chromium."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from tests.conftest import run_script
from tests.fake_report import HOSTILE, write_run
from zfnet_jax.report.table import html as table_html
from zfnet_jax.reproduce import comparison, report
from zfnet_jax.reproduce.gather import gather
from zfnet_jax.runs import checkpoint
from zfnet_jax.studies.context import report_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}


class Tags(html.parser.HTMLParser):
    """The tags of a page, and all that they name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    @property
    def addresses(self) -> list[str]:
        return [v for _, attrs in self.tags for k, v in attrs.items() if k in ("src", "href") and v]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a report; its name holds what an address and a page must escape."""
    folder = write_run(tmp_path_factory.mktemp("run") / "a run #1 <b>")
    report.write_report(folder / "report")
    return folder


@pytest.fixture(scope="module")
def page(workdir: Path) -> str:
    return (workdir / "report" / "index.html").read_text(encoding="utf-8")


def article(page: str, name: str) -> str:
    """The part of a page that shows an entry."""
    return page.split(f'<article id="{name}">')[1].split("</article>")[0]


def test_entries_stand_in_the_papers_order_and_each_says_what_it_is_or_why_not(page):
    ids = [attrs["id"] for tag, attrs in Tags(page).tags if tag == "article"]
    order = ["fig2", "fig4", "fig8", "table1", "fig7", "table2", "overlap", "own"]
    assert ids == [*order, "config"]
    assert "Beyond the paper" in page
    assert "Choosing an architecture" not in page  # nothing of it
    assert "Not made: no run named" in article(page, "table2")
    assert "it was not asked for yet" in article(page, "fig7")
    assert "Made from an earlier checkpoint" in article(page, "fig8")
    assert "Made from an earlier" not in article(page, "fig2")


def test_a_file_that_is_gone_is_told_and_the_rest_is_shown(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "report" / "figures" / "figure2.png").unlink()
    (folder / "report" / "tables" / "table1.md").unlink()
    page = report.write_report(folder / "report").read_text(encoding="utf-8")
    gone = "Report/figures/figure2.png is gone: reproduce it again"
    assert gone in article(page, "fig2")
    assert "table1.md is gone" in article(page, "table1")
    assert "figure2.png" not in article(page, "fig2").replace(gone, "")
    assert "figures/figure8.png" in article(page, "fig8")
    other = write_run(tmp_path / "other", seed=1)
    comparison.write_comparison([folder, other], tmp_path / "both")


def test_a_draft_is_one_until_all_is_made_in_full(tmp_path):
    folder = write_run(tmp_path / "run")
    plan_path = folder / "report" / "steps" / "plan.json"
    plan = json.loads(plan_path.read_text())
    assert "Effort" in gather(folder / "report").facts
    for one in plan.values():
        one["draft"] = False
    plan_path.write_text(json.dumps(plan))
    assert "Effort" in gather(folder / "report").facts  # Fig. 8 is still of the draft
    plan["fig8"]["fingerprint"] = "1"
    plan_path.write_text(json.dumps(plan))
    assert "Effort" not in gather(folder / "report").facts


def test_the_report_is_of_the_checkpoint_that_was_reproduced_last(tmp_path):
    folder, other = write_run(tmp_path / "run"), write_run(tmp_path / "other", seed=1)
    assert gather(folder / "report").facts["Checkpoint"] == "step 250, epoch 2"
    for path in (folder / "report" / "steps" / f"{name}.json" for name in ("mine", "fig2")):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"step": 125, "epoch": 1.0}))
    plan_path = folder / "report" / "steps" / "plan.json"
    plan = json.loads(plan_path.read_text())
    for name in ("fig8", "table1", "overlap"):
        plan[name]["fingerprint"] = "2"  # as of the net of step 125
    plan_path.write_text(json.dumps(plan))
    assert gather(folder / "report").facts["Checkpoint"] == "step 125, epoch 1"
    said = rf"report of {other} is of step 250, not 125: .* --workdir={other} --step=125$"
    with pytest.raises(ValueError, match=said):
        comparison.write_comparison([folder, other], tmp_path / "both", 125)
    comparison.write_comparison([folder, other], tmp_path / "both")


def test_a_figure_says_where_it_comes_from_and_leads_into_the_atlas(page):
    fig2 = article(page, "fig2")
    assert 'src="figures/figure2.png" width="1760" height="60"' in fig2
    assert 'href="atlas/index.html#conv1/17"' in fig2
    assert "step 250 (epoch 2), net 0123456789abcdef" in fig2
    assert "python -m scripts.mine" in fig2
    assert "nothing" not in fig2


def test_names_are_text_and_nothing_comes_from_outside(page, workdir):
    tags = Tags(page)
    assert not [tag for tag, _ in tags.tags if tag in ("script", "b<", "iframe")]
    assert not [attrs for _, attrs in tags.tags if any(name.startswith("on") for name in attrs)]
    for address in tags.addresses:
        assert (
            address.startswith(("#", "data:,"))
            or (workdir / "report" / address.split("#")[0]).exists()
        ), address
    assert "<h1>a run #1 &lt;b&gt;</h1>" in page
    text = (workdir / "report" / "report.md").read_text(encoding="utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    shown = Tags(MarkdownIt("commonmark").render(text))
    assert "figures/figure2.png" in shown.addresses
    assert not [address for address in shown.addresses if ":" in address]


def test_tables_become_tables_and_all_else_stays_text():
    made = table_html("## A\n\nb *c*\n\n- d\n\n| e | f |\n| --- | ---: |\n| <i>g</i> | \\|h\\| |\n")
    assert made.startswith("<h4>A</h4>\n<p>b *c*</p>\n<ul>\n<li>d</li>")
    assert '<div class="table"><table>' in made
    assert "<td>&lt;i&gt;g&lt;/i&gt;</td>" in made
    assert ">|h|</td>" in made
    assert "<a" not in table_html(HOSTILE)
    assert "<img" not in table_html(HOSTILE)


def test_markdown_holds_the_same_entries(workdir):
    text = (workdir / "report" / "report.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)
    assert headings == [
        one.entry.heading for _, shown in gather(workdir / "report").chapters for one in shown
    ]
    assert len(headings) == 8
    assert "![Figure 2: features of a trained net](figures/figure2.png)" in text
    assert "[17](atlas/index.html#conv1/17)" in text


def test_runs_side_by_side_show_what_differs(tmp_path):
    workdirs = [write_run(tmp_path / name, seed=seed) for seed, name in enumerate(("a<", "b"))]
    index = comparison.write_comparison(workdirs, tmp_path / "out")
    page = index.read_text(encoding="utf-8")
    assert "<tr><td>seed</td><td>0</td><td>1</td></tr>" in page
    assert "learning_rate</td>" not in page
    for number in (0, 1):
        copied = index.parent / "figures" / f"{number}-figure2.png"
        assert (
            copied.read_bytes()
            == (workdirs[number] / "report" / "figures" / "figure2.png").read_bytes()
        )
    for address in Tags(page).addresses:
        if not address.startswith(("#", "data:", "../")):
            assert (index.parent / address).exists()
    flags = [f"--workdir={workdir}" for workdir in workdirs]
    run_script("compare", *flags, f"--out={tmp_path / 'again'}")
    assert (tmp_path / "again" / "index.html").read_text(encoding="utf-8") == page
    comparison.write_comparison(workdirs, tmp_path / "out")  # its own page is made anew
    (workdirs[0] / "report" / "index.html").write_text("<title>a: a reproduction</title>")
    with pytest.raises(ValueError, match="is another page, which would be lost"):
        comparison.write_comparison(workdirs, workdirs[0] / "report")
    with pytest.raises(ValueError, match="at least two"):
        comparison.write_comparison(workdirs[:1], tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="has no report: run python -m"):
        comparison.write_comparison([*workdirs, tmp_path], tmp_path / "out")


def test_each_checkpoint_but_the_newest_has_a_report_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "standing", lambda *_: "the newest is step 375")
    workdirs = [write_run(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    for workdir in workdirs:
        (workdir / "checkpoints" / "375").mkdir(parents=True)
        assert report_of(workdir, None) == report_of(workdir, 375) == workdir / "report"
        (workdir / "report").rename(report_of(workdir, 250))
        gathered = gather(workdir / "report-step250")
        assert gathered.facts["Checkpoint"] == "step 250, epoch 2 (the newest is step 375)"
        figure2 = next(one for _, shown in gathered.chapters for one in shown if one.step == "fig2")
        assert not figure2.files(".png")  # which its record knows in the other folder
    comparison.write_comparison(workdirs, tmp_path / "out", step=250)
    with pytest.raises(FileNotFoundError, match=r"has no report of step 375: .* --step=375"):
        comparison.write_comparison(workdirs, tmp_path / "out", step=375)
    with pytest.raises(FileNotFoundError, match="has no report: run"):
        comparison.write_comparison(workdirs, tmp_path / "out")


@pytest.fixture
def opened(chrome: Chrome, workdir: Path) -> Iterator[Chrome]:
    """The report in a browser; nothing may be in its console or asked of the network."""
    chrome.get("about:blank")
    chrome.get_log("performance")
    chrome.get((workdir / "report" / "index.html").as_uri())
    yield chrome
    chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [], "media": ""})
    assert chrome.get_log("browser") == []
    messages = (json.loads(entry["message"])["message"] for entry in chrome.get_log("performance"))
    requests = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert any(url.endswith("figure2.png") for url in requests)
    assert not [url for url in requests if url.startswith(("http", "ws"))]


@pytest.mark.parametrize("size", [None, PHONE], ids=["desktop", "phone"])
def test_nothing_is_wider_than_the_screen_and_pictures_show(opened, size):
    if size:
        opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.execute_script(script) == 0
    for details in opened.find_elements("css selector", "details"):
        opened.execute_script("arguments[0].open = true", details)
    assert opened.execute_script(script) == 0
    widths = opened.execute_script(
        "return [...document.images].map((one) => one.complete && one.naturalWidth)"
    )
    assert widths == [1760, 1760]


def test_dark_and_light_follow_the_system_and_paper_is_white(opened):
    ground = "return getComputedStyle(document.body).backgroundColor"
    for theme, expected in [("dark", "rgb(18, 18, 18)"), ("light", "rgb(255, 255, 255)")]:
        wish = [{"name": "prefers-color-scheme", "value": theme}]
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish})
        assert opened.execute_script(ground) == expected
    wish = [{"name": "prefers-color-scheme", "value": "dark"}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish, "media": "print"})
    assert opened.execute_script(ground) == "rgb(255, 255, 255)"
    hidden = "return getComputedStyle(document.querySelector('nav')).display"
    assert opened.execute_script(hidden) == "none"
