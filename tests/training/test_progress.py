"""What the terminal shows of a run."""

from __future__ import annotations

import io
import math
import re
import sys

from zfnet_jax.training import progress
from zfnet_jax.training.progress import Progress, Waiting, epoch_line, step_line


def test_epoch_line():
    record = {
        "step": 234,
        "epoch": 3,
        "train/loss": 1.9213,
        "train/top1": 0.3314,
        "val/loss": 2.0,
        "val/top1": 0.3,
        "val/top5": 1.0,
        "learning_rate": 0.01,
        "images_per_second": 1812.4,
        "waiting": 0.041,
        "clipped": 0.03,
        "something/else": 5,
    }
    assert epoch_line(record, 5) == (
        "epoch 3/5  step 234  train loss 1.921 top-1 33.1%  "
        "val loss 2.000 top-1 30.0% top-5 100.0%  lr 0.01  1,812 images/s waiting 4.1%  "
        "clipped 3.0%"
    )
    assert epoch_line({"epoch": 3, "step": 7, "train/loss": math.nan}, 70) == (
        "epoch  3/70  step 7  train loss nan"
    )


def test_step_line():
    record = {"step": 200, "step/loss": 1.9204, "step/learning_rate": 0.02}
    times = {"step/images_per_second": 4012.3, "step/waiting": 0.0031, "step/device_memory": 12.1e9}
    assert step_line(record, "epoch 1/30") == "epoch 1/30  step 200  loss 1.920  lr 0.02"
    assert step_line(record | times, "epoch 1/30") == (
        "epoch 1/30  step 200  loss 1.920  lr 0.02  4,012 images/s waiting 0.3%  12.1 GB"
    )


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_progress_in_a_log_file_is_a_plain_line_in_ten_seconds(monkeypatch, capsys):
    clock, stream = _Clock(), io.StringIO()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(total_steps=1000, start_step=200, batch_size=64, enabled=True) as shown:
        for step in range(201, 301):
            clock.now += 0.25
            shown.update(step, title="epoch 1/2", loss=2.0 if step == 210 else None)
        shown.line("epoch 1/2 is done")
    assert stream.getvalue() == (
        "epoch 1/2  loss 2.000  step 240/1000  256 images/s  ETA 03:10\n"
        "epoch 1/2  loss 2.000  step 280/1000  256 images/s  ETA 03:00\n"
    )
    assert capsys.readouterr().out == "epoch 1/2 is done\n"


def test_progress_in_a_terminal_is_a_bar_of_the_whole_run(monkeypatch, capsys):
    clock, stream = _Clock(), _Terminal()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(total_steps=100, start_step=50, batch_size=8, enabled=True) as shown:
        clock.now += 1000  # the first step compiles: it does not count
        shown.update(51, title="epoch 3/4", loss=2.0)
        clock.now += 96
        shown.update(75, title="epoch 3/4", loss=1.5)
        shown.line("a line")  # draws the bar again
    drawn = stream.getvalue()
    assert re.search(
        r" 75% [^\r]* epoch 3/4  loss 1.500  step 75/100  2 images/s  ETA 01:40", drawn
    )
    assert capsys.readouterr().out == "a line\n"


def test_a_bar_reads_a_loss_only_where_it_shows_it(monkeypatch):
    """Reading a number from a device takes a moment; a bar is drawn ten times a second."""
    clock, read = _Clock(), []
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(sys, "stderr", _Terminal())

    class Loss:
        def __float__(self) -> float:
            read.append(clock.now)
            return 2.0

    with Progress(total_steps=300, start_step=0, batch_size=8, enabled=True) as shown:
        for step in range(200):
            clock.now += 0.01
            shown.update(step, title="epoch 1/1", loss=Loss())
    assert 15 < len(read) < 25


def test_waiting_is_the_time_until_an_item_comes(monkeypatch):
    clock = _Clock()
    monkeypatch.setattr(progress, "time", clock)

    def slow():
        for number in range(3):
            clock.now += 2
            yield number

    items, seen = Waiting(slow()), []
    for number in items:
        clock.now += 10  # its consumer's own
        seen.append(number)
    assert seen == [0, 1, 2]
    assert items.seconds == 6


def test_progress_of_other_processes_is_silent(monkeypatch, capsys):
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(total_steps=4, start_step=0, batch_size=8, enabled=False) as shown:
        shown.update(2, title="epoch 1/2", loss=1.0)
        shown.line("a line")
    assert stream.getvalue() == capsys.readouterr().out == ""
