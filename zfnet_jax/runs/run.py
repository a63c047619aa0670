"""A trained net opened from its run's folder, with its preprocessing: what every analysis takes."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from zfnet_jax import model
from zfnet_jax.architecture import Architecture
from zfnet_jax.data import augment, decode
from zfnet_jax.model import Activations, ZFNet
from zfnet_jax.runs import array_tree, origins, titles
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.runs.steps import Which
from zfnet_jax.windows import both


@dataclasses.dataclass(frozen=True)
class Run:
    """One checkpoint of a run.

    Attributes:
      directory: the run's folder.
      step: updates the net has had.
      config: as it was trained.
      net: the module, computing in float32 at the highest precision.
      params: its parameters.
      mean: [S, S, C] float32, the training set's per-pixel mean.
      class_names: in the order of the logits; none without a classifier.
      standing: which checkpoint it is among the run's, in a few words; '' of the newest.
    """

    directory: Path
    step: int
    config: ConfigDict
    net: ZFNet
    params: dict[str, Any]
    mean: np.ndarray
    class_names: tuple[str, ...]
    standing: str = ""

    @property
    def architecture(self) -> Architecture:
        return self.net.architecture

    @property
    def checkpoint(self) -> str:
        """Which one it is, to show: 'step 12', or 'step 8 (the newest is step 12)'."""
        return f"step {self.step}" + (f" ({self.standing})" if self.standing else "")

    @property
    def note(self) -> str:
        """The same to write beside a figure; '' of the newest, which needs no word."""
        return self.checkpoint if self.standing else ""

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of what the net sees, pixels."""
        return both(self.config.augment.crop)

    @property
    def scale(self) -> augment.Scale:
        """What pixels minus the mean are divided by."""
        scale = self.config.augment.scale
        return tuple(scale) if isinstance(scale, (tuple, list)) else scale

    @property
    def lacks_classes(self) -> str | None:
        """What to say where class scores are needed; None where the net has them."""
        name = self.directory.resolve().name
        return None if self.class_names else f"{name} has no classifier, which this needs"

    @functools.cached_property
    def is_imported(self) -> bool:
        """Whether it was trained elsewhere, of which its config knows nothing."""
        path = self.directory / "run.json"
        return path.exists() and "imported" in json.loads(path.read_text(encoding="utf-8"))

    @functools.cached_property
    def class_titles(self) -> tuple[str, ...]:
        """What to show of the classes, in the same order; see `data.titles.of_classes`."""
        return titles.of_classes(self.directory, self.class_names)

    @functools.cached_property
    def origins(self) -> dict[str, str]:
        """What layers are called where the net comes from, by our names; see `runs.origins`."""
        return origins.given(self.directory)

    def layer(self, name: str, among: Iterable[str]) -> str:
        """Our name of a layer that somebody names as we do, or as where the net comes from.

        Raises:
          ValueError: it is none of `among`, our names; lists both of each.
        """
        there = tuple(among)
        found = origins.ours(name, self.architecture.layers, self.origins)
        if found not in there:
            raise ValueError(
                f"no layer {name!r}: the net has {origins.listed(there, self.origins)}"
            )
        return found

    @functools.cached_property
    def weights_digest(self) -> str:
        """Short digest of the parameters; of many megabytes, so it is made once."""
        return array_tree.tree_digest(self.params)

    @functools.cached_property
    def mean_digest(self) -> str:
        """Digest of the per-pixel mean, made once."""
        return array_tree.digest(self.mean)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Centre crops, mean subtracted: [B, S, S, C] uint8 to [B, H, W, C] float32.

        As `augment.centre_crops`, on the host, where nothing is compiled for it.
        """
        pixels = augment.centre(np.asarray(images), self.input_size).astype(np.float32)
        mean = augment.centre(np.asarray(self.mean), self.input_size)
        return (pixels - mean) / np.asarray(self.scale, np.float32)

    def forward(self, inputs: jax.Array | np.ndarray) -> tuple[jax.Array, Activations]:
        """Logits [B, classes], [B, 0] without a classifier, and activations, see `ZFNet`."""
        return _forward(self.net, self.params, inputs)


def open_run(directory: str | Path, step: Which | None = None) -> Run:
    """Opens a checkpoint of a run.

    Args:
      step: its step, 'best' (the lowest validation error, of equals the newest) or 'latest'; the
        latest if None.

    Raises:
      FileNotFoundError: the folder holds no checkpoint.
      ValueError: there is no checkpoint of that step, none has a validation error, or it is
        damaged.
    """
    directory = Path(directory)
    with open_checkpoints(directory / "checkpoints") as checkpoints:
        step = checkpoints.step_of("latest" if step is None else step)
        arrays, record = checkpoints.restore(step)
        standing = checkpoints.standing(step)
    config = ConfigDict(record["config"])
    config.model.dtype, config.model.precision = "float32", "highest"
    return Run(
        directory=directory,
        step=step,
        config=config,
        net=model.from_config(config.model, classes=len(record["class_names"])),
        params=arrays["state"]["params"],
        mean=arrays["mean"],
        class_names=tuple(record["class_names"]),
        standing=standing,
    )


def load_photo(path: str | Path, image_size: int) -> np.ndarray:
    """A photo as training would see it: [image_size, image_size, 3] uint8.

    Raises:
      ValueError: it cannot be read, and why.
    """
    try:
        return decode.centre_square(decode.read(Path(path)), image_size)
    except decode.UnreadablePhotoError as error:
        raise ValueError(f"cannot read the photo {path}: {error}") from error


@functools.partial(jax.jit, static_argnums=0)
def _forward(net: ZFNet, params: dict[str, Any], inputs: Any) -> Any:
    return model.forward(net, params, inputs)
