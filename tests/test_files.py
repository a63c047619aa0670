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
