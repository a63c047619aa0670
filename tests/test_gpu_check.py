"""The check on an accelerator: parts that fail or hang cost no other; what ran is kept."""

from __future__ import annotations

import json
import sys

from scripts.benchmarks import accelerator, network, step, trials
from scripts.benchmarks.accelerator import Part


def test_a_part_that_fails_or_hangs_is_named_and_the_rest_counts(tmp_path, monkeypatch, capsys):
    # There is no suite of the first name.
    groups = [(Part("nothing", 60), Part("parity", 0.01)), (Part("pooling", 60),)]
    (tmp_path / "pooling").mkdir()
    ran = accelerator._run
    result = {"suite": "pooling", "what": "pool", "form": "ours", "unit": "s", "median": 2.0}
    result |= {"low": 1.0, "high": 3.0, "ratio": None, "target": None, "at_least": False}
    machine = {
        "processor": "P", "cores": 2, "devices": ["G"], "runtime": "R",
        "load": 0.1, "python": "3", "versions": {},
        "limits": {"flops_per_second": {"float32": 1e9}, "bytes_per_second": 1e9}, "trials": 1,
    }  # fmt: skip

    def run(part, out, left, small):
        if part.suite != "pooling":
            return ran(part, out, left, small)
        text = json.dumps({"machine": machine, "results": [result | {"share": None}]})
        (out / "pooling" / "results.json").write_text(text)
        return "done in 1 s"

    monkeypatch.setattr(accelerator, "_run", run)
    notes = accelerator.check(tmp_path, groups, seconds=100, small=True)
    said = json.loads((tmp_path / "gpu_check.json").read_text())
    assert said["parts"] == notes
    assert said["parts"]["nothing"].startswith("failed after")
    assert "no suite nothing" in said["parts"]["nothing"]
    assert said["parts"]["parity"].startswith("stopped after 0 s")
    assert said["parts"]["pooling"] == "done in 1 s"
    assert said["machine"] == machine
    assert [row["median"] for row in said["results"]] == [2.0]
    text = (tmp_path / "gpu_check.md").read_text()
    assert text.index("no suite nothing") < text.index("| ours | 2 s | 1 - 3 |")
    assert "pooling: done in 1 s" in capsys.readouterr().out


def test_when_the_time_is_over_parts_are_left_out(tmp_path):
    notes = accelerator.check(tmp_path, [(Part("parity", 60),)], seconds=0, small=True)
    assert notes == {"parity": "left out: the time was over"}
    assert "left out" in (tmp_path / "gpu_check.md").read_text()


def test_without_pytorch_the_step_is_measured_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    network.torch_computes_here.cache_clear()
    for method in ("__init__", "our_step", "work"):
        monkeypatch.setattr(network.Nets, method, lambda *_, **__: None)
    monkeypatch.setattr(trials, "take_turns", lambda forms, _: {name: [2.0] for name in forms})
    options = trials.Options(1, (2,), None, None, {}, 1.0, small=True)
    try:
        (row,) = step.rows(options)
    finally:
        network.torch_computes_here.cache_clear()
    assert (row.form, row.median) == ("ours", 1.0)
    assert row.what.endswith("no PyTorch to compare with")
