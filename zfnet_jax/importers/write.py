"""An imported net as an ordinary run's folder: from here on every script works on it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import files
from zfnet_jax.importers.net import Net
from zfnet_jax.importers.preprocessing import Pixels, Preprocessing
from zfnet_jax.runs import array_tree, origins, titles, workdir
from zfnet_jax.runs.checkpoint import Checkpoints
from zfnet_jax.runs.run import open_run
from zfnet_jax.training import optimizer
from zfnet_jax.training.step import initial_state


@dataclasses.dataclass(frozen=True)
class Imported:
    """A net from another framework with all that its run's folder says.

    Attributes:
      net: architecture and parameters.
      preprocessing: what it expects of its images.
      class_names: in the order of the class scores.
      class_titles: what people call them, by name; of those that have titles.
      source: where it comes from, for run.json: format, file, digest and options.
      pixels: what `preprocessing` was made of; None of a file of ours, which says it itself.
    """

    net: Net
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    source: Mapping[str, Any]
    class_titles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pixels: Pixels | None = None


def write_workdir(directory: str | Path, imported: Imported, base: ConfigDict) -> ConfigDict:
    """Writes config.json, run.json and a checkpoint of step 0; all of it or nothing.

    Args:
      directory: the run's folder, not there yet or empty.
      base: a config whose fields of training and data are taken over (see configs/zfnet.py).

    Returns:
      the run's config.

    Raises:
      FileExistsError: there is something in the folder.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} is there already and not empty: choose another folder")
    config = run_config(imported, base)
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        _write(unfinished, imported, config)
        unfinished.chmod(0o755)
        unfinished.rename(directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return config


def write_once(directory: str | Path, imported: Imported, base: ConfigDict) -> None:
    """`write_workdir`, unless the folder holds this very net already.

    Raises:
      FileExistsError: it holds another, or the same with other preprocessing.
    """
    directory = Path(directory)
    if not (directory / "run.json").exists():
        write_workdir(directory, imported, base)
        return
    there, config = open_run(directory), run_config(imported, base)
    of_images = ("data.image_size", "augment.crop", "augment.scale")
    same = {
        "layers or weights": there.weights_digest == array_tree.tree_digest(imported.net.params)
        and workdir.as_json(config)["model"] == _model_of(directory),
        "mean": there.mean_digest == array_tree.digest(imported.preprocessing.mean_image),
        "names of classes": there.class_names == imported.class_names
        and titles.given(directory) == dict(imported.class_titles),
        **{
            name.split(".")[1]: _field(config, name) == _field(there.config, name)
            for name in of_images
        },
    }
    if differing := [what for what, alike in same.items() if not alike]:
        raise FileExistsError(
            f"{directory} holds a net with other {', '.join(differing)}: choose another folder, or"
            " remove it"
        )


def run_config(imported: Imported, base: ConfigDict) -> ConfigDict:
    """The config of the imported net's run."""
    config = ConfigDict(base.to_dict())
    config.model = ConfigDict(imported.net.model)
    preprocessing = imported.preprocessing
    config.data.image_size = preprocessing.image_size
    config.data.source = "prepared"
    scale = np.broadcast_to(np.asarray(preprocessing.scale, float), 3).tolist()
    with config.ignore_type():
        config.augment.scale = scale[0] if len(set(scale)) == 1 else tuple(scale)
        config.augment.crop = preprocessing.crop
    return config.lock()


def digest_of_file(path: str | Path) -> str:
    """SHA-256."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _field(config: ConfigDict, name: str) -> Any:
    section, field = name.split(".")
    return np.asarray(config[section][field]).tolist()


def _model_of(directory: Path) -> Any:
    return json.loads((directory / "config.json").read_text(encoding="utf-8"))["model"]


def _write(directory: Path, imported: Imported, config: ConfigDict) -> None:
    state = initial_state(imported.net.params, optimizer.momentum(config.optimizer))
    record = {
        "config": workdir.as_json(config),
        "class_names": list(imported.class_names),
        "data": None,  # it was trained elsewhere
        "plateau": dataclasses.asdict(optimizer.Plateau()),
        "imported": dict(imported.source),
    }
    with Checkpoints(
        directory / "checkpoints", keep_latest=1, keep_best=0, keep_steps=()
    ) as checkpoints:
        arrays = {"state": state, "mean": imported.preprocessing.mean_image}
        checkpoints.save(0, arrays, record, error=None)
    files.write_json(
        directory / "run.json",
        {
            "data": None,
            "class_names": list(imported.class_names),
            **titles.record(imported.class_titles),
            **origins.record(imported.net.origins),
            "imported": dict(imported.source),
            "versions": workdir.versions(),
            "python": platform.python_version(),
        },
    )
    files.write_json(directory / "config.json", workdir.as_json(config))
