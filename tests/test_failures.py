"""Errors in one line, whatever they are."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest
from absl import flags

from zfnet_jax import failures
from zfnet_jax.command import shell

FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\n  at x")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("the photo\nis damaged"), "the photo is damaged"),
        (ValueError(), "ValueError"),
        (KeyError("fc7"), "KeyError: 'fc7'"),
        (MemoryError(), "no memory is left: take less (MemoryError)"),
        (
            FULL,
            "no memory is left: take less (JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory"
            " allocating 9 bytes.)",
        ),
        (RuntimeError("INTERNAL: no such kernel"), "RuntimeError: INTERNAL: no such kernel"),
    ],
)
def test_an_error_is_one_line(error, told):
    assert failures.told(error, "take less") == told


@pytest.fixture
def script(monkeypatch) -> flags.FlagValues:
    """The flags of a script that `shell.run` runs in this process."""
    values = flags.FlagValues()
    flags.DEFINE_integer("verbosity", 0, "", flag_values=values)
    monkeypatch.setattr(shell.flags, "FLAGS", values)
    monkeypatch.setattr(shell, "_DEBUG", SimpleNamespace(value=False))
    monkeypatch.setattr(shell.compilation_cache, "use_default_folder", lambda: None)
    monkeypatch.setattr(shell.logging, "set_verbosity", lambda _: None)
    monkeypatch.setattr(shell.app, "run", lambda main, **_: main(["script"]))
    monkeypatch.setattr(flags.FlagValues, "get_key_flags_for_module", lambda *_: [])
    return values


def test_a_full_memory_ends_a_script_with_the_flag_of_a_smaller_batch(script, capsys):
    def main() -> None:
        raise FULL

    flags.DEFINE_integer("batch_size", 64, "", flag_values=script)
    with pytest.raises(SystemExit) as end:
        shell.run(main)
    assert end.value.code == shell.WRONG
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no memory is left: --batch_size, now 64, takes fewer images")


@pytest.mark.usefixtures("script")
def test_a_defect_keeps_its_traceback():
    def main() -> None:
        raise RuntimeError("INTERNAL: no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"):
        shell.run(main)
