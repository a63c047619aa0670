"""The images that a script shows to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfnet_jax.data.images import Split
    from zfnet_jax.runs.run import Run


def open_split(run: Run, split: str, prepared_dir: str | None) -> Split:
    """A split as the run has it, or as it is prepared in another folder.

    Errors as in `splits.open_split`.
    """
    from zfnet_jax.data import splits  # after the flags, so that --help needs no jax

    if prepared_dir:
        run.config.data.prepared_dir = prepared_dir
    return splits.open_split(run.config.data, split)
