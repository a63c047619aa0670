"""Whole files or none."""

from __future__ import annotations

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
