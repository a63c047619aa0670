"""What the benchmarks share: turns, targets, tables. Nothing here is timed."""

from __future__ import annotations

import json

import pytest

from scripts.benchmarks import reading, report, trials
from scripts.benchmarks.trials import Options, Row, Work


def options(**changes) -> Options:
    fields = {"trials": 3, "batches": (1,), "workdir": None, "photos": None}
    limits = {"flops_per_second": {"float32": 100.0}, "bytes_per_second": 10.0}
    return Options(**fields, **limits, small=True, **changes)


def test_forms_take_turns_in_alternating_order(monkeypatch):
    monkeypatch.setattr(trials, "_WARM_UP", 1)
    monkeypatch.setattr(trials, "_PAUSE", (0, 0))
    order = []
    seconds = trials.take_turns({n: lambda n=n: order.append(n) for n in "ab"}, trials=3)
    assert "".join(order) == "baabbaab"
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_a_short_form_is_repeated_and_its_mean_counts(monkeypatch):
    monkeypatch.setattr(trials, "_PAUSE", (0, 0))
    clock = [0.0]
    monkeypatch.setattr(trials.time, "perf_counter", lambda: clock[0])

    def form(seconds: float):
        def run() -> None:
            clock[0] += seconds

        return run

    taken = {"short": 0.05, "long": 3.0}
    found = trials.take_turns({name: form(seconds) for name, seconds in taken.items()}, trials=2)
    assert found == {name: pytest.approx([seconds] * 2) for name, seconds in taken.items()}
    # Two rounds of warm-up, then rounds of four short ones that fill a trial's time.
    assert clock[0] == pytest.approx(4 * 3.0 + (2 + 2 * 4) * 0.05)


def test_ours_is_divided_by_each_peer_and_set_beside_the_limit(monkeypatch):
    given = {"ours": [1.0, 2.0, 3.0], "peer": [4.0, 4.0, 4.0]}
    monkeypatch.setattr(trials, "take_turns", lambda *_: given)
    ours, peer = trials.compare(
        "x", dict.fromkeys(given), options(), work=Work(flops=100, bytes=15), targets={"peer": 0.5}
    )
    assert (ours.median, ours.low, ours.high) == (2.0, 1.5, 2.5)
    assert ours.ratio is None
    assert ours.share == pytest.approx(1.5 / 2)  # the memory allows 1.5 s, the products 1 s
    assert (peer.ratio, peer.reached) == (0.5, True)


def test_a_target_may_be_a_lowest_ratio():
    row = Row("x", "peer", "images/s", 1.0, 1.0, 1.0, ratio=19.0, target=20.0, at_least=True)
    assert row.reached is False
    assert "at least 20: missed" in report.table([row])


def test_results_are_written_as_markdown_and_json(tmp_path):
    rows = [Row("a|b", "ours", "s", 1.0, 0.9, 1.1), Row("a|b", "peer", "s", 2, 2, 2, ratio=0.5)]
    about = {
        "processor": "P",
        "cores": 2,
        "devices": ["cpu"],
        "runtime": "cpu",
        "load": 0.1,
        "python": "3",
        "versions": {"jax": "1", "torch": None},
        "limits": {"flops_per_second": {"float32": 1e9}, "bytes_per_second": 1e9},
        "trials": 3,
    }
    report.write(tmp_path / "new", about, {"pooling": rows})
    text = (tmp_path / "new" / "results.md").read_text()
    assert "| peer | 2 s | 2 - 2 | 0.50 | - | - |" in text
    results = json.loads((tmp_path / "new" / "results.json").read_text())["results"]
    assert [(r["suite"], r["form"], r["median"]) for r in results] == [
        ("pooling", "ours", 1.0),
        ("pooling", "peer", 2),
    ]


def test_ways_of_reading_are_compared_cached_and_not():
    found = list(reading.rows(options()))
    assert len({row.what for row in found}) == 4
    assert [row.ratio is None for row in found] == 4 * [True, False, False, False]
    assert all(row.low > 0 for row in found)
