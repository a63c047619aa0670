from __future__ import annotations

import io
import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from zfnet_jax.training.metrics import MetricsWriter, read_metrics, top_ks


def events_of(workdir: Path) -> list[list[Event]]:
    """Events of each TensorBoard file: records of length, checksum, data, checksum."""
    files = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data, events = path.read_bytes(), []
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
        files.append(events)
    return files


def scalars_of(events: list[Event]) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value)
        for event in events
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]


def _write(workdir: Path, steps: range, *, resume_step: int = -1, seconds: float = 1.0) -> None:
    with MetricsWriter(workdir, resume_step=resume_step, is_writer=True) as writer:
        for step in steps:
            scalars = {"epoch": step // 2, "train/loss": 1 / (step + 3)}
            writer.write(step, scalars, time_fields={"images_per_second": seconds * step})


def test_records_come_back_exactly(tmp_path):
    with MetricsWriter(tmp_path / "new", resume_step=-1, is_writer=True) as writer:
        writer.write(0, {"val/loss": 0.1, "epoch": 3}, time_fields={"seconds": 1.5})
        writer.write(7, {"a": jnp.float32(0.1), "b": np.int64(2**53 + 1), "c": np.array([0.25])})
        writer.write(8, {"d": jnp.bfloat16(0.5)})
        on_disk = (tmp_path / "new" / "metrics.jsonl").read_text()  # before closing
    assert on_disk.splitlines()[0] == '{"step": 0, "val/loss": 0.1, "epoch": 3, "seconds": 1.5}'
    assert read_metrics(tmp_path / "new") == [
        {"step": 0, "val/loss": 0.1, "epoch": 3, "seconds": 1.5},
        {"step": 7, "a": float(np.float32(0.1)), "b": 2**53 + 1, "c": 0.25},
        {"step": 8, "d": 0.5},
    ]


def test_non_finite_numbers_stay_valid_json(tmp_path):
    with MetricsWriter(tmp_path, resume_step=-1, is_writer=True) as writer:
        writer.write(1, {"a": math.nan, "b": -math.inf, "c": np.float32(np.inf)})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    (record,) = read_metrics(tmp_path)
    assert math.isnan(record["a"])
    assert (record["b"], record["c"]) == (-math.inf, math.inf)


@pytest.mark.parametrize("value", ["0.5", None, np.zeros(2), True, 1j])
def test_only_single_numbers_are_taken(tmp_path, value):
    with (
        MetricsWriter(tmp_path, resume_step=-1, is_writer=True) as writer,
        pytest.raises(ValueError, match="metric a: expected one number"),
    ):
        writer.write(1, {"a": value})
    assert read_metrics(tmp_path) == []


def test_a_name_given_twice_is_refused(tmp_path):
    with MetricsWriter(tmp_path, resume_step=-1, is_writer=True) as writer:
        with pytest.raises(ValueError, match=r"step 1: \['a'\] given twice"):
            writer.write(1, {"a": 1}, time_fields={"a": 2})
        with pytest.raises(ValueError, match=r"\['step'\] given twice"):
            writer.write(1, {"step": 1})


def test_a_resumed_run_has_the_records_of_an_unbroken_one(tmp_path):
    _write(tmp_path / "unbroken", range(1, 9))
    _write(tmp_path / "resumed", range(1, 7))  # the last checkpoint was saved at step 4
    with (tmp_path / "resumed" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "train/lo')
    _write(tmp_path / "resumed", range(5, 9), resume_step=4, seconds=2.0)

    def without_time(workdir: Path) -> list[dict]:
        return [
            {name: value for name, value in record.items() if name != "images_per_second"}
            for record in read_metrics(workdir)
        ]

    assert without_time(tmp_path / "resumed") == without_time(tmp_path / "unbroken")
    assert [r["images_per_second"] for r in read_metrics(tmp_path / "resumed")] == [
        *(1.0, 2.0, 3.0, 4.0),
        *(10.0, 12.0, 14.0, 16.0),
    ]
    assert not list((tmp_path / "resumed").glob("*.tmp"))


def test_a_run_from_the_start_begins_with_no_records(tmp_path):
    _write(tmp_path, range(3))
    with MetricsWriter(tmp_path, resume_step=-1, is_writer=True):
        assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("torn", ['{"step": 2, "a', '{"step": 2}', "\0\0\0\0", "\0\0\n", "[]\n"])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 2}\n' + torn)
    assert read_metrics(tmp_path) == [{"step": 1, "a": 2}]
    _write(tmp_path, range(2, 3), resume_step=5)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]


def test_a_broken_line_elsewhere_is_an_error_and_nothing_is_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is no record"):
        read_metrics(tmp_path)
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is no record"):
        MetricsWriter(tmp_path, resume_step=1, is_writer=True)
    assert path.read_bytes() == before


def test_other_processes_write_nothing(tmp_path):
    with MetricsWriter(tmp_path / "run", resume_step=-1, is_writer=False) as writer:
        writer.write(1, {"a": 1.0})
        writer.image("x", np.zeros((2, 2, 3), np.uint8), 1)
    assert not (tmp_path / "run").exists()
    with pytest.raises(FileNotFoundError):
        read_metrics(tmp_path / "run")


def test_tensorboard_has_the_same_scalars_and_the_purge(tmp_path):
    _write(tmp_path, range(1, 4))
    _write(tmp_path, range(3, 5), resume_step=2)
    first, second = events_of(tmp_path)
    for events, records in ((first, range(1, 4)), (second, range(3, 5))):
        expected = [
            (step, tag, pytest.approx(value))
            for step in records
            for tag, value in (
                ("epoch", step // 2),
                ("train/loss", 1 / (step + 3)),
                ("images_per_second", step),
            )
        ]
        assert scalars_of(events) == expected
    starts = [e.step for e in second if e.session_log.status == SessionLog.START]
    assert starts == [3]


def test_tensorboard_images(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    with MetricsWriter(tmp_path, resume_step=-1, is_writer=True) as writer:
        writer.image("filters", pixels, 6)
        for wrong in (pixels[..., 0], pixels.astype(np.float32), pixels[..., :2]):
            with pytest.raises(ValueError, match=r"image filters: expected uint8 \[H, W, 3\]"):
                writer.image("filters", wrong, 6)
    (events,) = events_of(tmp_path)
    (event,) = [event for event in events if event.summary.value]
    assert (event.step, event.summary.value[0].tag) == (6, "filters")
    png = event.summary.value[0].image.encoded_image_string
    with image_module.open(io.BytesIO(png)) as decoded:
        np.testing.assert_array_equal(np.asarray(decoded), pixels)


def test_a_training_shows_the_filters_of_its_first_layer(shallow_run):
    steps = [
        event.step
        for events in events_of(shallow_run)
        for event in events
        if event.summary.value and event.summary.value[0].tag == "filters/conv1"
    ]
    assert steps == [4, 8, 12]


def test_of_five_classes_only_the_first_counts():
    assert [top_ks(classes) for classes in (2, 5, 6, 1000)] == [(1,), (1,), (1, 5), (1, 5)]


def test_without_tensorboards_package_metrics_are_written_all_the_same(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with MetricsWriter(tmp_path, resume_step=-1, is_writer=True) as writer:
        writer.write(1, {"loss": 2.0})
        writer.image("filters", np.zeros((2, 2, 3), np.uint8), 1)
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 2.0}]
    assert "tensorboardX is not installed" in caplog.text


def test_no_training_loads_pytorch(tmp_path):
    """tensorboardX would, wherever it is installed."""
    code = (
        "import sys; from pathlib import Path\n"
        "from zfnet_jax.training.metrics import MetricsWriter\n"
        "with MetricsWriter(Path(sys.argv[1]), resume_step=-1, is_writer=True) as writer:\n"
        "    writer.write(1, {'loss': 2.0})\n"
        "assert 'tensorboardX' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
