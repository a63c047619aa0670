"""Where results come from: what every file beside saved arrays says of the run behind them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.data import batches
from zfnet_jax.runs import workdir
from zfnet_jax.runs.run import Run


@functools.cache
def code_digest() -> str:
    """Short digest of this package's own files, which its version does not tell apart."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def of_run(run: Run) -> dict[str, Any]:
    """The run and checkpoint, its config, and the versions of packages and of this code, as JSON
    values."""
    return {
        "run": run.directory.resolve().name,
        "step": run.step,
        "epoch": epoch_of(run, run.step),
        "crop": list(run.input_size),
        "image_size": run.config.data.image_size,
        "config": workdir.as_json(run.config),
        "versions": workdir.versions(),
        "code": code_digest(),
    }


def net_digest(run: Run) -> str:
    """Short digest of all that a net's answers depend on: its weights and preprocessing."""
    content = {
        "architecture": _chosen(run.architecture),
        "weights": run.weights_digest,
        "mean": run.mean_digest,
        "crop": run.input_size,
        "scale": np.asarray(run.config.augment.scale).tolist(),  # one number, or per channel
        "step": run.step,
        "classes": run.class_names,
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _chosen(value: Any) -> Any:
    """Of dataclasses the fields that do not have their defaults, as JSON values: one that is added
    later, and left as it was, makes no other net."""
    if not dataclasses.is_dataclass(value):
        return [_chosen(one) for one in value] if isinstance(value, tuple) else value
    return {
        field.name: _chosen(getattr(value, field.name))
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    }


def trained_with(directory: Path, split: str) -> str | None:
    """Fingerprint of a split of the run's images; None where its folder does not say."""
    path = directory / "run.json"
    if not path.exists():
        return None
    # Of an imported net the field is there and empty: it was trained elsewhere.
    return (json.loads(path.read_text(encoding="utf-8")).get("data") or {}).get(split)


def epoch_of(run: Run, step: int) -> float | None:
    """Epochs that a step of a run stands for; None where its folder does not say of how many
    images."""
    path = run.directory / "run.json"
    if not path.exists():
        return None
    images = json.loads(path.read_text(encoding="utf-8")).get("images", {}).get("train")
    if images is None:  # imported: trained elsewhere
        return None
    return step / batches.train_steps_per_epoch(images, run.config.batch_size)
