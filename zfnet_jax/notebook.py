"""Short ways into a run, for notebooks: one function for each of the first questions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from zfnet_jax import deconvnet, units
from zfnet_jax.report.figures import CONTRAST
from zfnet_jax.report.tiles import projection_tile
from zfnet_jax.runs.run import Run, load_photo
from zfnet_jax.studies import images
from zfnet_jax.studies.features import study as features
from zfnet_jax.studies.features import winners
from zfnet_jax.studies.features.options import Options as Mining
from zfnet_jax.studies.features.options import SplitName
from zfnet_jax.studies.features.winners import Winners
from zfnet_jax.studies.occlusion import study as occlusion
from zfnet_jax.studies.occlusion.options import Options
from zfnet_jax.studies.saved import Arrays

Photo = str | Path | np.ndarray  # a file, or [S, S, 3] uint8 as `load_photo` gives it


def project(run: Run, photo: Photo, layer: str, number: int | None = None) -> np.ndarray:
    """Projects the strongest unit of a feature map, alone, to pixels (Section 2.1).

    Args:
      run: of `open_run`.
      photo: a file or its pixels.
      layer: a conv or pool layer, such as 'conv3', or as it is called where the net comes from.
      number: of the map; the one with the strongest activation if not given.

    Returns:
      [H, W, 3] float32, of the size that the net sees; zero if the map is not active.

    Raises:
      ValueError: there is no such layer or map, or the photo cannot be read.
    """
    layer = run.layer(layer, run.architecture.map_layers)
    _, activations = run.forward(run.inputs(_pixels(run, photo)[None]))
    maps = activations[layer].shape[3]
    if number is None:
        number = int(units.strongest_maps(activations[layer], 1)[0][0, 0])
    if not 0 <= number < maps:
        raise ValueError(f"{layer} has maps 0 to {maps - 1}, not {number}")
    seed = units.strongest_unit(activations[layer], number)
    projected = deconvnet.project(
        run.architecture, run.params, activations, layer, seed, run.input_size
    )
    return np.asarray(projected[0])


def picture(pixels: np.ndarray) -> Image.Image:
    """A projection [H, W, 3] as an image in which zero is grey."""
    tile = projection_tile(pixels, CONTRAST)
    return Image.fromarray(np.round(255 * tile).astype(np.uint8))


def mine(
    run: Run, split: SplitName = "validation", k: int = 9, prepared_dir: str | None = None
) -> Winners:
    """The k images that activate each feature map most, and their projections (Fig. 2).

    What was mined before of this checkpoint is read, else it is mined now and left in the run's
    folder, as `python -m scripts.mine` does.

    Args:
      prepared_dir: other images than the run's: prepared, or photos in class folders.

    Raises:
      FileNotFoundError, ValueError: the images are not there (see `images.open_split`).
    """
    shown = images.open_split(run, split, prepared_dir)
    result = features.measured(
        run, shown, Mining(split=split, k=k), prepared_dir=prepared_dir, progress=True
    )
    return winners.load(result.folder)


def occlude(run: Run, photo: Photo, label: str | None = None) -> Arrays:
    """Slides a grey square over a photo: what does the answer depend on? (Fig. 7)

    Args:
      photo: a file or its pixels.
      label: the class whose probability is asked for; the most probable one if not given. A net
        without a classifier has none: what the square does to a map is measured alone.

    Returns:
      the arrays of `studies.occlusion.measure.occlude`, of one photo.

    Raises:
      ValueError: there is no such class, or the photo cannot be read.
    """
    labels = [label] if label else []
    return occlusion.of_pixels(
        run,
        occlusion.resolved(run, Options()),
        _pixels(run, photo)[None],
        occlusion.class_numbers(run, labels, 1),
        progress=True,
    )


def _pixels(run: Run, photo: Photo) -> np.ndarray:
    if isinstance(photo, np.ndarray):
        return photo
    return load_photo(photo, run.config.data.image_size)
