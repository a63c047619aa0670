"""Slow, obvious NumPy implementations to test against, and narrow copies of the built-in nets.

No arithmetic is shared with zfnet_jax. Padding is never stored: a window is named by its first
pixel, which may lie outside the map, and only pixels inside the map take part in a maximum.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import numpy as np

from configs import architectures
from zfnet_jax.architecture import Architecture, from_config
from zfnet_jax.layer_specs import Affine, ContrastNorm, Pool, Rectifier
from zfnet_jax.model import ZFNet

RECTIFY = ("deconvnet", "forward_mask", "guided")
OVERLAP = ("sum", "max", "mean", "overwrite")


def window_starts(size: int, window: int, stride: int, padding: tuple[int, int]) -> list[int]:
    """First pixel of every whole window along one axis of a padded map."""
    starts = []
    start = -padding[0]
    while start + window <= size + padding[1]:
        starts.append(start)
        start += stride
    return starts


def pool_starts(size: int, pool: Pool) -> list[int]:
    """First pixel of every window of a pool along one axis, partial windows of 'ceil' included."""
    if pool.rounding == "floor":
        return window_starts(size, pool.window, pool.stride, (pool.padding, pool.padding))
    starts = [-pool.padding]
    covered = starts[-1] + pool.window
    while covered < size + pool.padding and starts[-1] + pool.stride < size:
        starts.append(starts[-1] + pool.stride)
        covered = starts[-1] + pool.window
    return starts


def max_pool(
    x: np.ndarray, window: int, rows: list[int], columns: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled maps and switches of the windows that start at `rows` and `columns`."""
    batch, height, width, maps = x.shape
    pooled = np.zeros((batch, len(rows), len(columns), maps), x.dtype)
    switches = np.zeros(pooled.shape, np.uint8)
    for i, j in np.ndindex(len(rows), len(columns)):
        places = [
            (dy, dx)
            for dy, dx in np.ndindex(window, window)
            if 0 <= rows[i] + dy < height and 0 <= columns[j] + dx < width
        ]
        if not places:  # a window of padding alone
            continue
        seen = np.stack([x[:, rows[i] + dy, columns[j] + dx] for dy, dx in places])
        best = seen.argmax(axis=0)  # the first of equals, and a NaN before any number
        pooled[:, i, j] = np.take_along_axis(seen, best[None], axis=0)[0]
        switches[:, i, j] = np.array([dy * window + dx for dy, dx in places])[best]
    return pooled, switches


def unpool(
    pooled: np.ndarray,
    switches: np.ndarray,
    size: tuple[int, int],
    window: int,
    rows: list[int],
    columns: list[int],
    overlap: str,
) -> np.ndarray:
    """Combines the values of all windows that name a pixel, window by window in row-major order."""
    result = np.zeros((pooled.shape[0], *size, pooled.shape[3]), pooled.dtype)
    windows = np.zeros(result.shape, int)  # that have named it so far
    image, index = np.indices((pooled.shape[0], pooled.shape[3]))
    for i, j in np.ndindex(len(rows), len(columns)):
        dy, dx = np.divmod(switches[:, i, j].astype(int), window)
        pixels = image, rows[i] + dy, columns[j] + dx, index  # one of each map of each image
        value, before, first = pooled[:, i, j], result[pixels], windows[pixels] == 0
        windows[pixels] += 1
        result[pixels] = {
            "sum": before + value,
            "max": np.where(first, value, np.maximum(before, value)),
            "mean": before + value,
            "overwrite": value,
        }[overlap]
    return result / np.maximum(windows, 1) if overlap == "mean" else result


def average_windows(size: int, pool: Pool) -> list[tuple[list[int], int]]:
    """Of every window along one axis the pixels inside the map, and how many its mean is over: with
    `counts_padding` those of the padding too, but never what lies beyond it."""
    windows = []
    for start in pool_starts(size, pool):
        pixels = range(start, start + pool.window)
        inside = [pixel for pixel in pixels if 0 <= pixel < size]
        padded = [pixel for pixel in pixels if -pool.padding <= pixel < size + pool.padding]
        windows.append((inside, len(padded if pool.counts_padding else inside)))
    return windows


def average_pool(x: np.ndarray, pool: Pool) -> np.ndarray:
    rows, columns = (average_windows(size, pool) for size in x.shape[1:3])
    result = np.zeros((x.shape[0], len(rows), len(columns), x.shape[3]))
    for i, j in np.ndindex(len(rows), len(columns)):
        (ys, height), (xs, width) = rows[i], columns[j]
        result[:, i, j] = x[:, ys][:, :, xs].sum(axis=(1, 2)) / (height * width)
    return result


def average_unpool(maps: np.ndarray, size: tuple[int, int], pool: Pool) -> np.ndarray:
    """Each value's share to every pixel of its window."""
    rows, columns = (average_windows(n, pool) for n in size)
    result = np.zeros((maps.shape[0], *size, maps.shape[3]))
    for i, j in np.ndindex(len(rows), len(columns)):
        (ys, height), (xs, width) = rows[i], columns[j]
        for y in ys:
            for x in xs:
                result[:, y, x] += maps[:, i, j] / (height * width)
    return result


def convolve(
    x: np.ndarray, kernel: np.ndarray, stride: int, padding: int, groups: int
) -> np.ndarray:
    """Each output is the sum of a window of the padded maps times a filter, group by group."""
    k, _, fan_in, maps = kernel.shape
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows = window_starts(padded.shape[1], k, stride, (0, 0))
    columns = window_starts(padded.shape[2], k, stride, (0, 0))
    result = np.zeros((x.shape[0], len(rows), len(columns), maps))
    for i, j, g in np.ndindex(len(rows), len(columns), groups):
        patch = padded[:, rows[i] : rows[i] + k, columns[j] : columns[j] + k]
        read, put = group(g, fan_in), group(g, maps // groups)
        result[:, i, j, put] = np.tensordot(patch[..., read], kernel[..., put], axes=3)
    return result


def group(number: int, maps: int) -> slice:
    """The maps of one of several groups, of so many each."""
    return slice(number * maps, (number + 1) * maps)


def filter_transposed(
    maps: np.ndarray,
    kernel: np.ndarray,
    stride: int,
    padding: int,
    groups: int,
    input_size: tuple[int, int],
) -> np.ndarray:
    """Each map value adds itself times its filter to the window of the input that it came from."""
    k, _, fan_in, out = kernel.shape
    height, width = input_size
    padded = np.zeros((maps.shape[0], height + 2 * padding, width + 2 * padding, fan_in * groups))
    for i, j, g in np.ndindex(*maps.shape[1:3], groups):
        row, column, read = i * stride, j * stride, group(g, out // groups)
        window = padded[:, row : row + k, column : column + k, group(g, fan_in)]
        window += np.tensordot(maps[:, i, j, read], kernel[..., read], axes=(1, 3))
    return padded[:, padding : padding + height, padding : padding + width]


def contrast_norm(x: np.ndarray, norm: ContrastNorm) -> np.ndarray:
    result = np.zeros_like(x)
    reach = range(-(norm.maps // 2), norm.maps // 2 + 1)
    for i, j, c in np.ndindex(x.shape[1:]):
        if norm.region == "across_maps":
            neighbours = [(i, j, c + d) for d in reach]
        else:
            neighbours = [(i + d, j + e, c) for d in reach for e in reach]
        squares = sum(
            x[:, row, column, index] ** 2
            for row, column, index in neighbours
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2] and 0 <= index < x.shape[3]
        )
        if norm.alpha_convention == "mean":
            squares = squares / len(neighbours)
        result[:, i, j, c] = x[:, i, j, c] / (norm.k + norm.alpha * squares) ** norm.beta
    return result


def rectified(x: np.ndarray, relu: Rectifier) -> np.ndarray:
    y = np.where(x < 0, relu.slope * x, x)
    return y if relu.cap is None else np.where(y > relu.cap, relu.cap, y)


def rectified_back(x: np.ndarray, y: np.ndarray, relu: Rectifier, rectify: str) -> np.ndarray:
    """The way down from x; y is what the relu put out."""
    if rectify in ("deconvnet", "guided"):
        x = rectified(x, Rectifier(relu.slope))
    if rectify in ("forward_mask", "guided"):
        x = x * np.where(y > 0, 1, relu.slope) * (1 if relu.cap is None else y < relu.cap)
    return x


def forward(net: Architecture, params: dict, images: np.ndarray) -> dict[str, np.ndarray]:
    """The conv layers of the model in float64: activations by the model's names."""
    x, activations = images.astype(np.float64), {}
    for conv in net.convs:
        kernel, bias = (np.asarray(params[conv.name][k], np.float64) for k in ("kernel", "bias"))
        x = convolve(x, kernel, conv.stride, conv.padding, conv.groups) + bias
        activations[conv.name] = x
        for name, part in zip(conv.then_names, conv.then):
            if isinstance(part, Rectifier):
                x = rectified(x, part)
            elif isinstance(part, ContrastNorm):
                x = contrast_norm(x, part)
            elif isinstance(part, Affine):
                x = x * np.float64(params[name]["scale"]) + np.float64(params[name]["bias"])
            elif part.kind == "average":
                x = average_pool(x, part)
            else:
                rows, columns = (pool_starts(size, part) for size in x.shape[1:3])
                x, switches = max_pool(x, part.window, rows, columns)
                activations[f"switches{name.removeprefix('pool')}"] = switches
            activations[name] = x
    return activations


def reconstructions(
    net: Architecture,
    params: dict,
    activations: dict[str, np.ndarray],
    layer: str,
    seed: np.ndarray,
    image_size: tuple[int, int],
    rectify: str,
    overlap: str,
) -> dict[str, np.ndarray]:
    """The deconvnet of Section 2.1: every 'layer{k}' from the start down to the image."""
    inputs, size = {}, image_size
    for conv in net.convs:
        inputs[conv.name] = size
        size = activations[(conv.name, *conv.then_names)[-1]].shape[1:3]
    x, result, started = np.asarray(seed, np.float64), {}, False
    for conv in reversed(net.convs):
        below = (conv.name, *conv.then_names)  # what each part reads
        for name, part, before in reversed(list(zip(conv.then_names, conv.then, below))):
            started = started or layer == name
            if not started or isinstance(part, ContrastNorm):
                continue
            height_and_width = activations[before].shape[1:3]
            if isinstance(part, Rectifier):
                x = rectified_back(x, activations[name], part, rectify)
            elif isinstance(part, Affine):
                x = x * np.float64(params[name]["scale"])
            elif part.kind == "average":
                x = average_unpool(x, height_and_width, part)
            else:
                switches = activations[f"switches{name.removeprefix('pool')}"]
                rows, columns = (pool_starts(size, part) for size in height_and_width)
                x = unpool(x, switches, height_and_width, part.window, rows, columns, overlap)
        started = started or layer == conv.name
        if started:
            kernel, size = np.float64(params[conv.name]["kernel"]), inputs[conv.name]
            x = filter_transposed(x, kernel, conv.stride, conv.padding, conv.groups, size)
            result[f"layer{conv.number}"] = x
    return result


def narrow_nets() -> dict[str, Architecture]:
    """Every geometry among the built-in nets, with few maps and one small dense layer."""
    grouped = architectures.alexnet()
    for name in ("conv2", "conv4", "conv5"):
        grouped[name].groups = 2
    padded = architectures.zfnet()
    for name in ("conv1", "conv2"):
        padded[name].pool.update({"padding": 1, "rounding": "floor"})
    padded.conv5.pool.rounding = "floor"
    # As ZF of py-faster-rcnn; alpha so large that the norm shows.
    within = architectures.zfnet()
    for name, padding in (("conv1", 3), ("conv2", 2)):
        within[name].padding, within[name].pool.padding = padding, 1
    within.norm_before_pool, within.dropout_scales_training = True, False
    within.contrast_norm.update({"region": "within_map", "maps": 3, "k": 1.0, "alpha": 0.5})
    configs = {
        "zfnet": architectures.zfnet(),
        "zfnet_padded": padded,
        "zf_within_map": within,
        "alexnet": architectures.alexnet(),
        "alexnet_grouped": grouped,
        "alexnet_without_3_4": architectures.table3()["alexnet_without_3_4"],
        "small": architectures.small(),
    }
    maps = {1: 4, 2: 6, 3: 8, 4: 6, 5: 4}
    nets = {}
    for name, config in configs.items():
        net = from_config(config, classes=3)
        convs = tuple(dataclasses.replace(conv, maps=maps[conv.number]) for conv in net.convs)
        nets[name] = dataclasses.replace(net, convs=convs, dense=(5,))
    return nets


_HE = nn.initializers.he_normal()  # one, so that models of equal nets are equal


def exact_model(net: Architecture, **fields) -> ZFNet:
    return ZFNet(net, _HE, precision="highest", **fields)


@functools.partial(jax.jit, static_argnums=0)
def answers(model: ZFNet, params: dict, images: np.ndarray):
    """Logits and activations, by one program for each net and shape of images."""
    return model.apply({"params": params}, images)


def random_params(model: ZFNet, shape: tuple[int, ...], seed: int = 0) -> dict:
    """He-normal filters and random biases for images of a shape [B, H, W, C], as NumPy arrays."""
    rng = np.random.default_rng(seed)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = 0.1 if leaf.ndim == 1 else np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return rng.normal(scale=scale, size=leaf.shape).astype(leaf.dtype)

    return jax.tree.map(draw, _shapes(model, (1, *shape[1:])))


@functools.cache
def _shapes(model: ZFNet, shape: tuple[int, ...]) -> dict:
    """Of its parameters, for images of a shape [B, H, W, C]."""
    images = jax.ShapeDtypeStruct(shape, np.float32)  # not an argument: nothing goes forward
    return jax.eval_shape(lambda key: model.init(key, images), jax.random.key(0))["params"]
