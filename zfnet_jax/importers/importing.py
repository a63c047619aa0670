"""From a file of weights, and what the user knows of it, to an imported net."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from zfnet_jax.importers import caffe, files, matching, onnx, own, pytorch
from zfnet_jax.importers.assemble import assemble
from zfnet_jax.importers.chain import CHANNELS, Affine, Link, in_colours
from zfnet_jax.importers.keras import read as keras
from zfnet_jax.importers.preprocessing import HALF_OF_PIXELS, Order, Pixels, read_class_names
from zfnet_jax.importers.write import Imported, digest_of_file
from zfnet_jax.layer_specs import Classifier
from zfnet_jax.windows import Pair, Sides, shortest


@dataclasses.dataclass(frozen=True)
class Options:
    """What a file may not say. None: as the file or the preset has it; if neither has, an error.

    Attributes:
      preset: name of the architecture, for PyTorch (see `presets`).
      architecture: for PyTorch, a config that has it, or its model section (see `matching`).
      prototxt: the architecture's file, for Caffe.
      architecture_json: for Keras's weights alone, the file of the layers; see `keras.read`.
      output: which layer of a Caffe or Keras net is its last, if not its own: that of the class
        scores, or the last of a trunk.
      bgr: whether the net takes blue, green, red; of grey images nobody asks.
      mean: [3], red, green, blue, or [1] for all.
      mean_file: a mean per pixel, .binaryproto or .npy, in the net's order of channels.
      scale: what pixels minus the mean are divided by, one number or red, green, blue; 1 if nobody
        says it.
      image_size, crop: see `Preprocessing`.
      class_names: a file of the classes in order, one in a line; see `data.titles.read_list`.
    """

    preset: str | None = None
    architecture: ConfigDict | None = None
    prototxt: str | Path | None = None
    architecture_json: str | Path | None = None
    output: str | None = None
    bgr: bool | None = None
    mean: np.ndarray | None = None
    mean_file: str | Path | None = None
    scale: float | tuple[float, ...] | None = None
    image_size: int | None = None
    crop: Sides | None = None
    class_names: str | Path | None = None


@dataclasses.dataclass(frozen=True)
class _Known:
    """What a file or a preset says: `bgr` to `scale` as in `Options`, which replaces them.

    Attributes:
      classifier: as in `assemble`.
      graph_mean, graph_scale: what the net's graph does itself, after all that is said elsewhere;
        see `NodeReader`.
    """

    bgr: bool | None = None
    image_size: int | None = None
    crop: Sides | None = None
    mean: np.ndarray | None = None
    scale: float | tuple[float, ...] | None = None
    graph_mean: np.ndarray | None = None
    graph_scale: np.ndarray | None = None
    classifier: Classifier | None = None

    @property
    def takes_pixels(self) -> bool:
        """Whether the graph divides by what pixels from 0 to 255 are divided by, and subtracts
        nothing: then it takes them as they are."""
        if self.graph_scale is None or self.graph_mean is not None:
            return False
        return float(np.min(self.graph_scale)) >= HALF_OF_PIXELS


def from_file(
    weights: str | Path, options: Options, base: ConfigDict, kind: str | None = None
) -> Imported:
    """A net of the format `kind`, a key of `READERS`; if None, of the one that the file has."""
    return READERS[kind or files.format_of(Path(weights))](weights, options, base)


def from_pytorch(weights: str | Path, options: Options, base: ConfigDict) -> Imported:
    """A state_dict of a preset's net or of an architecture, or an export of ours. Errors as in
    `pytorch` and `matching`."""
    _refuse(options, ("prototxt", "output", "architecture_json"), "only other formats need it")
    tensors, metadata = pytorch.read_tensors(weights)
    if own.KEY in metadata:
        return _exported(_source("pytorch", weights), weights, options, tensors, metadata)
    source = _source("pytorch", weights)
    if options.architecture is not None:
        _refuse(options, ("preset",), "--architecture says what net it is")
        config = options.architecture
        model = config.model if "model" in config else config
        with files.reading(Path(weights), "as --architecture has it"):
            chain, classifier, source["matched"] = matching.match(
                tensors, model, in_order=pytorch.keeps_order(weights)
            )
        known = _Known(classifier=classifier)
        return _imported(source, weights, chain, options, base, known)
    if options.preset is None:
        raise ValueError(
            f"{weights} does not say what net it is of: name it with --preset, or describe it with"
            " --architecture"
        )
    with files.reading(Path(weights), f"as {options.preset}"):
        chain, preset = pytorch.read_chain(tensors, options.preset)
        usual = preset.preprocessing
        known = _Known(False, usual.image_size, usual.crop, usual.mean, usual.scale)
    return _imported(source, weights, chain, options, base, known)


def from_onnx(weights: str | Path, options: Options, base: ConfigDict) -> Imported:
    """A graph. Errors as in `onnx`."""
    _refuse(
        options,
        ("preset", "architecture", "prototxt", "output", "architecture_json"),
        "an ONNX graph says it itself",
    )
    graph = onnx.read(weights)
    source = _source("onnx", weights, graph.beside)
    if own.KEY in graph.metadata:
        return _exported(source, weights, options, graph.tensors, graph.metadata)
    with files.reading(Path(weights), "an ONNX model"):
        crop = _shortest(graph.input_size)
        known = _Known(crop=crop, graph_mean=graph.mean, graph_scale=graph.scale)
    return _imported(source, weights, graph.chain, options, base, known, graph.names)


def from_caffe(weights: str | Path, options: Options, base: ConfigDict) -> Imported:
    """A .caffemodel and its .prototxt. Errors as in `caffe`."""
    _refuse(options, ("preset", "architecture", "architecture_json"), "the prototxt says it")
    if options.prototxt is None:
        raise ValueError(f"{weights} needs the file of its architecture: --prototxt")
    net = caffe.read(weights, options.prototxt, options.output)
    with files.reading(Path(weights), "a Caffe model"):
        mean = net.mean[::-1] if options.bgr and net.mean is not None else net.mean
        known = _Known(crop=_shortest(net.input_size), mean=mean, scale=net.scale)
    return _imported(_source("caffe", weights), weights, net.chain, options, base, known)


def from_keras(weights: str | Path, options: Options, base: ConfigDict) -> Imported:
    """An .h5 or .keras file, or a model.json of TensorFlow.js. Errors as in `keras.read`."""
    _refuse(options, ("preset", "architecture", "prototxt"), "the file says it")
    net = keras.read(weights, options.crop, options.output, options.architecture_json)
    with files.reading(Path(weights), "a Keras model"):
        known = _Known(crop=options.crop or _shortest(net.input_size))
    source = _source("keras", weights, net.beside)
    return _imported(source, weights, net.chain, options, base, known)


def _imported(
    source: dict[str, Any],
    weights: str | Path,
    chain: list[Link],
    options: Options,
    base: ConfigDict,
    known: _Known,
    layers: Mapping[str, str] | None = None,
) -> Imported:
    """`layers`: as the names of `assemble`."""
    _check_pixels(options)
    with files.reading(Path(weights), f"as {source['format']}"):
        chain, known = _affine_of_images(chain, known)
    chain, grey = in_colours(chain)
    bgr = False if grey else options.bgr if options.bgr is not None else known.bgr
    order: Order | None = "grey" if grey else None if bgr is None else "bgr" if bgr else "rgb"
    mean = options.mean
    if mean is not None and options.mean_file is not None:
        raise ValueError("--mean and --mean_file: give one of them")
    if options.mean_file is not None:
        mean = read_mean(options.mean_file, bool(bgr))
        if mean.any() and np.abs(mean).max() <= 1:
            raise ValueError(
                f"{options.mean_file} is of pixels from 0 to 1, but they go from 0 to 255 here:"
                " multiply it by 255"
            )
    with files.reading(Path(weights), f"as {source['format']}"):
        pixels, size, crop = _asked(options, mean, known, order)
        net = assemble(
            chain, crop, bgr=bool(bgr), base=base.model, names=layers, classifier=known.classifier
        )
        preprocessing = pixels.together(size, crop)
    names, titles = tuple(f"class {n}" for n in range(net.classes)), {}
    if options.class_names is not None and not net.classes:
        raise ValueError(
            f"leave out --classes: {Path(weights).name} has no classifier, it ends in maps"
        )
    if options.class_names is not None:
        names, titles = read_class_names(options.class_names, net.classes)
    used = {
        "preset": options.preset,
        "prototxt": options.prototxt and Path(options.prototxt).name,
        "architecture": options.architecture_json and Path(options.architecture_json).name,
        "order": order,
        "mean_file": options.mean_file and Path(options.mean_file).name,
    }
    return Imported(net, preprocessing, names, source | used, titles, pixels)


def _affine_of_images(chain: list[Link], known: _Known) -> tuple[list[Link], _Known]:
    """The chain without what scales and shifts images before its first layer, such as a batch norm,
    which becomes part of what the graph subtracts and divides by. Padding then stands for the mean,
    as there. What turns colours round, by a factor below zero, stays."""
    while chain and isinstance(affine := chain[0], Affine) and (affine.factor > 0).all():
        values = (affine.factor, affine.shift)
        if any(array.shape not in ((1,), (CHANNELS,)) for array in values):
            raise ValueError(f"{affine.name}: values for {len(affine.factor)} colours")
        factor, shift = (array.reshape(-1, 1, 1) for array in values)
        mean = np.float64(0) if known.graph_mean is None else known.graph_mean
        scale = np.float64(1) if known.graph_scale is None else known.graph_scale
        known = dataclasses.replace(
            known, graph_mean=mean - scale * shift / factor, graph_scale=scale / factor
        )
        chain = chain[1:]
    return chain, known


def _exported(
    source: dict[str, Any],
    weights: str | Path,
    options: Options,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
) -> Imported:
    """A net that we exported."""
    every = [field.name for field in dataclasses.fields(Options)]
    _refuse(options, every, f"{weights} is an export of this package, which says it itself")
    with files.reading(Path(weights), "an export of this package"):
        return own.imported(tensors, metadata, source)


def _refuse(options: Options, names: Iterable[str], why: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            flag = {
                "bgr": "order",
                "class_names": "classes",
                "architecture_json": "architecture",
            }.get(name, name)
            raise ValueError(f"leave out --{flag}: {why}")


def _asked(
    options: Options, mean: np.ndarray | None, known: _Known, order: Order | None
) -> tuple[Pixels, int, Sides]:
    """What is given, else known, of pixels; and the sides of images and of crops.

    Args:
      mean: the one given.

    Raises:
      ValueError: neither says something; or the graph takes pixels from 0 to 1.
    """
    crop, size = options.crop or known.crop, options.image_size or known.image_size
    mean = mean if mean is not None else known.mean
    if mean is None and (known.takes_pixels or known.graph_mean is not None):
        mean = np.zeros(CHANNELS, np.float32)
    lacking = {
        "in which order it takes colours: --order=rgb|bgr": order,
        "how many pixels of an image it sees, a side or ROWS,COLUMNS: --crop=N": crop,
        "to how many pixels photos are resized: --image_size=N": size,
        "what is subtracted from pixels: --mean=R,G,B or --mean_file (--mean=0,0,0 for nothing)"
        ", and --scale if they are divided then": mean,
    }
    if told := [what for what, said in lacking.items() if said is None]:
        raise ValueError(f"the file does not say {'; '.join(told)}")
    assert crop is not None
    assert size is not None
    assert mean is not None
    assert order is not None
    scale = options.scale if options.scale is not None else known.scale
    scale = 1.0 if scale is None else scale
    pixels = Pixels(order, mean, scale)
    bgr = order == "bgr"
    if known.graph_mean is not None:
        graphs = _rgb(known.graph_mean, bgr)
        nothing_before = not np.any(mean) and (np.asarray(scale) == 1).all()
        if graphs.any() and np.abs(graphs).max() <= 1 and nothing_before:
            raise ValueError(
                f"it subtracts {_listed(graphs.mean((0, 1)))} itself: it takes pixels from 0 to 1,"
                " which go from 0 to 255 here: --scale=255"
            )
        graphs = graphs.ravel() if graphs.shape[:2] == (1, 1) else own.widened(graphs, size)
        pixels = dataclasses.replace(pixels, graph_mean=graphs)
    if known.graph_scale is not None:
        pixels = dataclasses.replace(pixels, graph_scale=_rgb(known.graph_scale, bgr).ravel())
    return pixels, size, crop


def _check_pixels(options: Options) -> None:
    """Pixels go from 0 to 255 here, but from 0 to 1 in the recipes of torchvision and Keras.

    Raises:
      ValueError: a mean or a scale is of pixels from 0 to 1, or a scale is what they are multiplied
        by (Caffe).
    """
    mean = options.mean
    scale = None if options.scale is None else np.atleast_1d(np.asarray(options.scale, float))
    low_mean = mean is not None and bool(mean.any()) and float(np.abs(mean).max()) <= 1
    low_scale = scale is not None and float(scale.max()) < 1
    if not low_mean and not low_scale:
        return
    if (
        scale is not None and scale.min() > 0 and scale.max() < 0.1
    ):  # no pixels deviate so little, be they 0 to 1
        raise ValueError(
            f"--scale={_listed(scale)}: pixels are divided by it, not multiplied:"
            f" --scale={_listed(1 / scale)}"
        )
    flags = []
    if mean is not None:
        flags.append(f"--mean={_listed(mean * 255 if low_mean else mean)}")
    if scale is None:
        flags.append("--scale=255")
    else:
        flags.append(f"--scale={_listed(scale * 255 if low_scale else scale)}")
    given = " and ".join(["--mean"] * low_mean + ["--scale"] * low_scale)
    raise ValueError(
        f"{given}: of pixels from 0 to 1, but they go from 0 to 255 here: {' '.join(flags)}"
    )


def _listed(values: np.ndarray) -> str:
    return ",".join(f"{value:.6g}" for value in values)


def _rgb(array: np.ndarray, bgr: bool) -> np.ndarray:
    """[1 or 3, H, W] in the net's order of colours to [H, W, 3], red, green, blue."""
    array = np.broadcast_to(array, (CHANNELS, *array.shape[1:])).transpose(1, 2, 0)
    return array[..., ::-1] if bgr else array


def read_mean(path: str | Path, bgr: bool) -> np.ndarray:
    """A mean per pixel [H, W, 3], red, green, blue, from Caffe's .binaryproto or an .npy file; one
    of grey images is that of all three.

    Args:
      bgr: whether the file holds blue, green, red, as Caffe's do.

    Raises:
      ValueError: the file is damaged or holds another shape than [3, H, W] or [1, H, W].
    """
    path = Path(path)
    # A .binaryproto starts as an ONNX model may.
    is_npy = files.check(path, "npy", "onnx") == "npy" or path.suffix.lower() == ".npy"
    with files.reading(path, "a mean per pixel"):
        mean = np.load(path, allow_pickle=False) if is_npy else caffe.read_blob(path)
        if mean.ndim == 4 and len(mean) == 1:
            mean = mean[0]
        if mean.ndim != 3 or mean.shape[0] not in (1, CHANNELS) or mean.dtype.kind not in "fu":
            raise ValueError(f"it holds {mean.dtype}{list(mean.shape)}, expected [3, H, W]")
        mean = np.broadcast_to(mean, (CHANNELS, *mean.shape[1:]))
        mean = mean.astype(np.float32).transpose(1, 2, 0)
        return mean[..., ::-1] if bgr else mean


def _shortest(size: Pair | None) -> Sides | None:
    return shortest(size) if size else None


def _source(kind: str, weights: str | Path, beside: Iterable[Path] = ()) -> dict[str, Any]:
    """Where a net comes from; `beside`: the files beside `weights` that hold tensors of it."""
    more = {path.name: digest_of_file(path) for path in beside}
    source = {"format": kind, "file": Path(weights).name, "sha256": digest_of_file(weights)}
    return source | ({"beside": more} if more else {})


READERS = {"pytorch": from_pytorch, "onnx": from_onnx, "keras": from_keras, "caffe": from_caffe}
