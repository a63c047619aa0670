"""Where scripts write to: refused before the work where it cannot be."""

from __future__ import annotations

import io
import sys

import pytest

from zfnet_jax.command import outputs, shell


def test_a_folder_may_be_new_but_not_a_file(tmp_path):
    assert outputs.folder(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert outputs.folder(str(tmp_path)) == tmp_path
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match=r"file is a file, and a folder is asked for"):
            outputs.folder(str(path))


def test_a_picture_has_an_ending_and_is_no_folder(tmp_path):
    for ending in (".png", ".PDF"):
        path = tmp_path / "new" / f"a{ending}"
        assert outputs.file(str(path), outputs.PICTURES) == path
    with pytest.raises(ValueError, match=r"must end in \.png, \.pdf or \.svg: --out=.*/no\.png"):
        outputs.file(str(tmp_path / "no"), outputs.PICTURES)
    for path in (str(tmp_path), f"{tmp_path}/new/"):
        with pytest.raises(ValueError, match="is a folder: name the file to write, such as"):
            outputs.file(path, outputs.PICTURES)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file, and a folder"):
        outputs.file(str(tmp_path / "file" / "a.png"))


def test_a_terminal_that_lacks_letters_shows_their_codes(monkeypatch):
    names = "caf\u00e9 \u9ce5 \udcff"
    for encoding, shown in (
        ("ascii", r"caf\xe9 \u9ce5 \udcff"),
        ("utf-8", "caf\u00e9 \u9ce5 \\udcff"),
    ):
        bytes_written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_written, encoding=encoding))
        shell.show_any_letters()
        print(names, flush=True)
        assert bytes_written.getvalue().decode(encoding) == shown + "\n"
