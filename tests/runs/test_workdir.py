"""What a run's folder says of how the run was trained."""

from __future__ import annotations

import json

from zfnet_jax.data import splits
from zfnet_jax.files import write_json
from zfnet_jax.runs import workdir


def test_each_segment_of_a_run_keeps_what_trained_it(
    tiny_config, prepared_pictures, tmp_path, monkeypatch
):
    tiny_config.data.prepared_dir = str(prepared_pictures)
    data = [splits.open_split(tiny_config.data, name) for name in ("train", "validation")]

    def started(step: int, jax: str) -> list[tuple[int, str]]:
        """The segments after a start from a step with a version of jax."""
        monkeypatch.setattr(workdir, "versions", lambda: {"jax": jax})
        workdir.claim(tmp_path, tiny_config, *data)
        workdir.begin_segment(tmp_path, step)
        run = json.loads((tmp_path / "run.json").read_text())
        assert run["versions"] == {"jax": jax}
        assert all(one["devices"]["count"] for one in run["segments"])
        return [(one["step"], one["versions"]["jax"]) for one in run["segments"]]

    assert started(0, "1") == [(0, "1")]
    assert started(4, "1") == [(0, "1")]
    assert started(8, "2") == [(0, "1"), (8, "2")]
    assert started(8, "3") == [(0, "1"), (8, "3")]  # nothing was saved meanwhile
    assert started(12, "4") == [(0, "1"), (8, "3"), (12, "4")]
    assert started(4, "5") == [(0, "1"), (4, "5")]  # the checkpoints since then were damaged
    # As runs of before were written.
    run = json.loads((tmp_path / "run.json").read_text())
    assert "deterministic" not in run
    write_json(tmp_path / "run.json", {name: run[name] for name in run if name != "segments"})
    assert started(20, "6") == [(0, "5"), (20, "6")]
    # Told to be deterministic, by --deterministic or from outside; then no longer.
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
        assert started(24, "6") == [(0, "5"), (20, "6"), (24, "6")]
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["deterministic"] is run["segments"][-1]["deterministic"] is True
    assert started(28, "6") == [(0, "5"), (20, "6"), (24, "6"), (28, "6")]
    assert "deterministic" not in json.loads((tmp_path / "run.json").read_text())
