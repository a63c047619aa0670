"""Whole files or none."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from zfnet_jax import files


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "before")
    with pytest.raises(TypeError):
        files.write_bytes(path, "not bytes")
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "before"


def test_of_two_writers_at_once_each_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    with files.whole_file(path) as first:
        first.write(b"first, the longer one")
        first.flush()
        with files.whole_file(path) as second:
            second.write(b"second")
        assert path.read_text() == "second"
    assert path.read_text() == "first, the longer one"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (zlib.error("invalid stored block lengths"), "is damaged: remove it (invalid stored"),
        (NotImplementedError("zip file version 10.9"), "is damaged: remove it (zip file version"),
        (OSError("Invalid data stream"), "is damaged: remove it (Invalid data"),
        (FileNotFoundError(2, "No such file"), "is damaged: remove it ([Errno 2] No such file"),
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (OSError(116, "Stale file handle"), "[Errno 116] Stale file handle"),
        (MemoryError("64 GB"), "64 GB"),
    ],
)
def test_only_content_is_called_damaged(error, told):
    kind = ValueError if "damaged" in told else type(error)
    with pytest.raises(kind, match=re.escape(told)), files.damage_told(Path("a"), "remove it"):
        raise error
