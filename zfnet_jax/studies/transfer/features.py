"""Frozen features: the activations of a layer for every image of a split, made once and kept.

WORKDIR/studies/transfer/features/LAYER-DIGEST.npy holds [N, D] float32, the rows of the split in
order and each map flattened; a .json of the same name says what they were made from, and
LAYER-DIGEST-gram.npy holds their inner products [N, N], but for layers of few features. Features
are large (layer 1 of the paper's net:
1.16 MB an image) and may be removed once the inner products are there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from zfnet_jax import entry, lock, model, parallel, passes
from zfnet_jax.data import augment, batches
from zfnet_jax.data.augment import Scale
from zfnet_jax.data.images import Images, Split
from zfnet_jax.files import whole_file, write_json
from zfnet_jax.model import ZFNet
from zfnet_jax.runs import array_tree, provenance
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.saved import FOLDER
from zfnet_jax.studies.transfer import gram
from zfnet_jax.studies.transfer.gram import Products
from zfnet_jax.studies.transfer.protocols import TABLE7_LAYERS
from zfnet_jax.studies.transfer.scores import NAME
from zfnet_jax.training.optimizer import Params
from zfnet_jax.windows import Sides

LARGEST = 2**19  # values an image, of a layer that nobody named; the paper's layer 1 has 290,400


def of_table7(run: Run) -> tuple[tuple[str, ...], str]:
    """The layers that Table 7 takes where none is named, and a line on those whose features are too
    large for that; '' where there are none."""
    there = run.architecture.outputs
    dims = dimensions(run, [there[number] for number in TABLE7_LAYERS if number in there])
    kept = tuple(layer for layer, dim in dims.items() if dim <= LARGEST)
    left_out = {layer: dim for layer, dim in dims.items() if layer not in kept}
    if not left_out:
        return kept, ""
    sizes = ", ".join(f"{layer} ({4 * dim / 1e6:.1f} MB)" for layer, dim in left_out.items())
    flags = " ".join(f"--layer={layer}" for layer in left_out)
    return kept, (
        f"Left out, as an image has features of more than {4 * LARGEST / 1e6:.1f} MB there:"
        f" {sizes}; {entry.typed('transfer')} {flags} takes them."
    )


def extract(
    run: Run, split: Split, layers: Sequence[str], *, batch_size: int, progress: bool
) -> dict[str, Path]:
    """The features of some layers, from the run's folder where it has them, else made there.

    Every image is shown to the net once, as its centre crop, whatever the number of layers. Of two
    who ask at once one waits.

    Args:
      run: the net.
      split: N images, prepared at the run's image size; their classes do not matter.
      layers: names of activations, such as 'norm1', 'conv3', 'pool5' or 'fc7'.
      batch_size: images per step, of all devices and processes together.
      progress: whether to show a bar.

    Returns:
      of each layer the .npy file, see the top of the module.

    Raises:
      ValueError: the net has no such layer, or the images are of another size.
      FloatingPointError: a feature is not finite; names layer and image.
    """
    if split.image_size != run.config.data.image_size:
        raise ValueError(
            f"the images are prepared at {split.image_size} pixels, but the net was trained on "
            f"{run.config.data.image_size}: prepare them at that size"
        )
    dims = dimensions(run, layers)
    paths = {layer: path_of(run, split, layer) for layer in layers}
    with contextlib.ExitStack() as locks:

        def look() -> list[str]:
            if not all(path.exists() for path in paths.values()):
                locks.enter_context(lock.waited_for(_folder(run) / ".features.lock"))
            return [layer for layer in dims if not paths[layer].exists()]

        missing = {layer: paths[layer] for layer in parallel.by_writer(look)}
        if missing:
            _write(run, split, missing, dims, batch_size, progress)
    return paths


def products(
    run: Run, split: Split, layers: Sequence[str], *, batch_size: int, progress: bool
) -> dict[str, Callable[[np.ndarray, np.ndarray], Products]]:
    """Of each layer what finds the inner products of some training and test rows.

    Arguments and errors as in `extract`. Those of all images are made where they are missing, but
    for layers of few features, of which each fold makes its own.
    """
    dims = dimensions(run, layers)
    narrow = [layer for layer in layers if not has_gram(len(split), dims[layer])]
    wide = [layer for layer in layers if layer not in narrow]
    paths = {layer: gram_path(run, split, layer) for layer in wide}
    missing = parallel.by_writer(lambda: [layer for layer in wide if not paths[layer].exists()])
    made = {}
    if missing or narrow:
        made = extract(run, split, [*missing, *narrow], batch_size=batch_size, progress=progress)
    for layer in missing:
        _write_products(layer, made[layer], paths[layer], progress)
    return {
        layer: partial(gram.of_gram, paths[layer])
        if layer in wide
        else partial(gram.of_features, made[layer])
        for layer in layers
    }


def has_gram(images: int, dims: int) -> bool:
    """Whether the inner products of all images are kept, not made of the features of a fold."""
    return 2 * dims > images


def _write_products(layer: str, features: Path, path: Path, progress: bool) -> None:
    with contextlib.ExitStack() as locks:

        def is_there() -> bool:
            locks.enter_context(lock.waited_for(path.with_name(f".{path.stem}.lock")))
            return path.exists()

        if parallel.by_writer(is_there):
            return
        matrix = gram.gram_matrix(
            open_features(features),
            desc=f"inner products, {layer}",
            progress=progress,
            kept=parallel.is_writer(),
        )

        def write() -> None:
            with whole_file(path) as file:
                np.save(file, matrix)

        parallel.by_writer(write)


def path_of(run: Run, split: Split, layer: str) -> Path:
    """Where the features of a layer lie; its name depends on all that they depend on."""
    text = json.dumps(_identity(run, split, layer), sort_keys=True)
    name = f"{layer}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"
    return _folder(run) / name


def gram_path(run: Run, split: Split, layer: str) -> Path:
    """Where the inner products of a layer lie, if they are kept."""
    path = path_of(run, split, layer)
    return path.with_name(f"{path.stem}-gram.npy")


def open_features(path: Path) -> np.ndarray:
    """The features [N, D] float32, mapped from the disk."""
    return np.load(path, mmap_mode="r")


def _folder(run: Run) -> Path:
    return run.directory / FOLDER / NAME / "features"


def _identity(run: Run, split: Split, layer: str) -> dict[str, Any]:
    """All that features depend on; not batch size and devices."""
    return {
        "layer": layer,
        "weights": run.weights_digest,
        "net": repr(run.architecture),
        "mean": array_tree.digest(run.mean)[:16],
        "crop": run.config.augment.crop,
        "scale": np.asarray(run.config.augment.scale).tolist(),  # one number, or per channel
        "data": split.fingerprint,
    }


def _write(
    run: Run,
    split: Split,
    paths: dict[str, Path],
    dims: dict[str, int],
    batch_size: int,
    progress: bool,
) -> None:
    """Makes the files of some layers, all at once; all processes show, one writes."""
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        if parallel.is_writer():
            files = {layer: stack.enter_context(whole_file(path)) for layer, path in paths.items()}
        for layer, file in files.items():
            _write_header(file, (len(split), dims[layer]))
        _show_all(run, split, tuple(paths), files, batch_size, progress)

        def finish() -> None:
            seconds = round(time.perf_counter() - began, 2)
            for layer, path in paths.items():
                described = {**_identity(run, split, layer), "seconds": seconds, "layers": [*paths]}
                write_json(path.with_suffix(".json"), described | provenance.of_run(run))
            stack.close()

        parallel.by_writer(finish)


def dimensions(run: Run, layers: Sequence[str]) -> dict[str, int]:
    """Features of an image, by layer; ValueError names the layers there are."""
    size = (1, *run.input_size, run.mean.shape[-1])
    shapes = jax.eval_shape(lambda x: run.forward(x)[1], jax.ShapeDtypeStruct(size, jnp.float32))
    there = [name for name in shapes if not name.startswith("switches")]
    for layer in layers:
        if layer not in there:
            name = run.directory.resolve().name
            raise ValueError(f"no layer {layer!r}: {name} has {', '.join(there)}")
    return {layer: int(np.prod(shapes[layer].shape[1:])) for layer in layers}


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def show(
    run: Run, images: Images, layers: tuple[str, ...], *, batch_size: int, progress: bool
) -> Iterator[tuple[range, dict[str, np.ndarray]]]:
    """Shows images to the net; per batch their numbers and the features [b, D] of each layer.

    Arguments as in `extract`; images as in `passes.over_images`, of the run's image size.
    """
    step = _make_step(
        run.net,  # pyrefly: ignore [bad-argument-type]  (it has a hash, of its fields)
        run.input_size,
        run.scale,
        layers,
    )
    return passes.over_images(
        images,
        passes.gathered(step),
        parallel.replicate((run.params, run.mean)),
        batch_size=batch_size,
        title="features",
        progress=progress,
    )


def _show_all(
    run: Run,
    split: Split,
    layers: tuple[str, ...],
    files: dict[str, BinaryIO],
    batch_size: int,
    progress: bool,
) -> None:
    """Appends the features of every image to the file of their layer, where there is one.

    Written, not mapped: pages of a mapped file would count as memory until the disk has them.
    """
    for rows, found in show(run, split, layers, batch_size=batch_size, progress=progress):
        for layer, array in found.items():
            block = np.ascontiguousarray(array, "<f4")
            wrong = ~np.isfinite(block).all(axis=1)
            if wrong.any():
                key = split.keys[rows[int(wrong.argmax())]]
                raise FloatingPointError(
                    f"{layer}: image {key} gives features that are not finite: the net's weights "
                    "are damaged"
                )
            if layer in files:
                files[layer].write(block.data)


# Kept, so that a step keeps its programs, and none keeps a run.
@functools.lru_cache(8)
def _make_step(
    net: ZFNet, crop: Sides, scale: Scale, layers: tuple[str, ...]
) -> Callable[..., dict[str, jax.Array]]:
    """(params, mean, batch) -> features [b, D] of each layer."""

    def step(
        params: Params, mean: jax.Array, batch: batches.Batch[jax.Array]
    ) -> dict[str, jax.Array]:
        images = augment.centre_crops(batch.images, mean, crop, scale)
        _, activations = model.forward(net, params, images)
        return {
            layer: activations[layer].astype(jnp.float32).reshape(len(images), -1)
            for layer in layers
        }

    return step
