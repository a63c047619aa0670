"""Windows that differ between the axes, padding that differs between the ends, dilation, depthwise:
each operator against loops and adjoint, and a net of them through everything that walks stages."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import slow_reference as slow
from tests.parts_of_nets import check_occlusion, check_units
from zfnet_jax import deconvnet, geometry, units
from zfnet_jax.architecture import Architecture
from zfnet_jax.convolution import filter_maps, filter_transposed
from zfnet_jax.layer_specs import Conv, Pool
from zfnet_jax.pooling import max_pool_with_switches, max_unpool, switch_positions
from zfnet_jax.stages.average_pool import AveragePool
from zfnet_jax.stages.dense import Logits
from zfnet_jax.stages.filters import Filter
from zfnet_jax.stages.max_pool import MaxPool
from zfnet_jax.stages.relu import Relu
from zfnet_jax.stages.stage import Down, Frame, Place, Up
from zfnet_jax.stages.window_convolution import filter_window, spread_change
from zfnet_jax.studies.fields import seen_by
from zfnet_jax.studies.occlusion.plan import Grid
from zfnet_jax.windows import both, pads

SIZE = (11, 13)
INPUTS = 4  # maps
# kernel, stride, padding, dilation, groups, maps
FILTERS = {
    "unequal": ((3, 5), (2, 1), ((0, 1), (2, 1)), 1, 1, 3),
    "even": ((4, 2), 1, ((1, 2), (0, 1)), 1, 1, 3),
    "unequal strides": (3, (3, 2), (1, 0), 1, 1, 3),
    "one row": ((1, 7), (1, 2), (0, (3, 2)), 1, 1, 3),
    "dilated": (3, 1, 2, 2, 1, 3),
    "dilated and strided": ((2, 3), (2, 1), ((1, 0), (0, 2)), (1, 3), 1, 3),
    "groups": ((2, 3), 1, ((0, 1), 1), 1, 2, 6),
    "depthwise": (3, 1, 1, 1, 4, 4),
    "depthwise, more maps": ((3, 2), (2, 1), (1, (0, 1)), 1, 4, 8),
    "depthwise and dilated": (3, 1, (2, 4), (2, 4), 4, 4),
    "more padding than filter": (2, 2, (3, 2), 1, 1, 3),
}


def taps(case, x_shape):
    """Of every unit and filter position: their places, and the pixel of the padded maps."""
    (high, wide), (s, t), ends, (d, e) = (
        both(case[0]), both(case[1]), pads(case[2]), both(case[3]),
    )  # fmt: skip
    h = (x_shape[1] + sum(ends[0]) - (high - 1) * d - 1) // s + 1
    w = (x_shape[2] + sum(ends[1]) - (wide - 1) * e - 1) // t + 1
    for i, j, a, b in np.ndindex(h, w, high, wide):
        yield i, j, a, b, i * s + a * d, j * t + b * e


def convolved(case, x, kernel):
    padded, groups = np.pad(np.float64(x), ((0, 0), *pads(case[2]), (0, 0))), case[4]
    filters = np.split(np.float64(kernel), groups, axis=3)
    total: dict = {}
    for i, j, a, b, row, column in taps(case, x.shape):
        seen = np.split(padded[:, row, column], groups, axis=1)
        parts = [one @ f[a, b] for one, f in zip(seen, filters, strict=True)]
        total[i, j] = total.get((i, j), 0) + np.concatenate(parts, axis=1)
    h, w = (n + 1 for n in max(total))
    return np.stack([np.stack([total[i, j] for j in range(w)], 1) for i in range(h)], 1)


def scattered(case, y, kernel):
    ends, groups = pads(case[2]), case[4]
    height, width = (n + sum(pad) for n, pad in zip(SIZE, ends, strict=True))
    result = np.zeros((len(y), height, width, INPUTS))
    filters = np.split(np.float64(kernel), groups, axis=3)
    for i, j, a, b, row, column in taps(case, (1, *SIZE)):
        values = np.split(np.float64(y[:, i, j]), groups, axis=1)
        parts = [one @ f[a, b].T for one, f in zip(values, filters, strict=True)]
        result[:, row, column] += np.concatenate(parts, axis=1)
    return result[:, ends[0][0] :, ends[1][0] :][:, : SIZE[0], : SIZE[1]]


def test_filters_are_those_of_loops_and_their_transposes_the_adjoints():
    """Also in windows of the maps, as occlusion computes them, and of a change alone."""
    rng, given, expected = np.random.default_rng(0), {}, {}
    convs = {
        name: Conv(1, maps, kernel, stride, padding, groups, dilation)
        for name, (kernel, stride, padding, dilation, groups, maps) in FILTERS.items()
    }
    for name, case in FILTERS.items():
        kernel = rng.normal(size=(*both(case[0]), INPUTS // case[4], case[5])) / 4
        x = rng.normal(size=(2, *SIZE, INPUTS))
        y = convolved(case, x, kernel)
        seed = rng.normal(size=y.shape)
        given[name] = [array.astype(np.float32) for array in (x, kernel, seed)]
        expected[name] = (y, scattered(case, seed, kernel))
        assert [convs[name].size(n, axis) for axis, n in enumerate(SIZE)] == list(y.shape[1:3])

    @jax.jit
    def compute(given):
        result = {}
        for name, (x, kernel, seed) in given.items():
            conv = convs[name]
            up = functools.partial(filter_maps, conv=conv, precision="highest")
            y, pullback = jax.vjp(up, x, kernel)
            ends = ((0, 0), *conv.pads, (0, 0))
            inside = filter_window(jnp.pad(x, ends), kernel, conv, "highest")
            change = y
            if conv.stride == 1:
                spread = spread_change(x, kernel, conv, "highest")
                (top, left) = (w.reach - 1 - w.before for w in conv.windows)
                change = spread[:, top:, left:][:, : y.shape[1], : y.shape[2]]
            down = filter_transposed(seed, kernel, conv, SIZE)
            result[name] = ((y, inside, change), (down, pullback(seed)[0]))
        return result

    for name, (ups, downs) in compute(given).items():
        forward, transposed = expected[name]
        x, _, seed = given[name]
        for one in ups:
            np.testing.assert_allclose(one, forward, atol=1e-5, err_msg=name)
        for one in downs:
            np.testing.assert_allclose(one, transposed, atol=1e-5, err_msg=name)
        inner = (np.float64(ups[0]) * seed).sum(), (np.float64(x) * np.asarray(downs[0])).sum()
        size = np.sqrt(np.square(ups[0]).sum() * np.square(seed).sum())
        assert abs(inner[0] - inner[1]) < 1e-5 * size, name


# window, stride, padding, rounding
POOLS = {
    "unequal": ((2, 3), (1, 2), ((1, 0), (0, 2)), "floor"),
    "a column": ((4, 1), (3, 1), ((0, 3), 0), "floor"),
    "ceil": ((3, 2), (2, 3), ((1, 1), (0, 1)), "ceil"),
    "many columns": ((2, 12), (2, 1), (0, (4, 0)), "floor"),
    "more than 16 rows": ((17, 2), (1, 5), ((6, 7), 0), "floor"),
}


def pooled_slowly(x, pool, counts_padding):
    """Maxima, switches and means, and how many pixels each is over."""
    found = []
    for axis, size in enumerate(SIZE):
        (k, _), (s, _) = ((both(n)[axis], 0) for n in (pool[0], pool[1]))
        before, after = pads(pool[2])[axis]
        starts = [-before]
        while starts[-1] + k < size + after:
            if pool[3] == "floor" and starts[-1] + s + k > size + after:
                break
            if starts[-1] + s >= size:
                break
            starts.append(starts[-1] + s)
        found.append((starts, k, size, -before, size + after))
    rows, columns = found
    shape = (len(x), len(rows[0]), len(columns[0]), x.shape[3])
    best, switches, means = np.zeros(shape), np.zeros(shape, np.uint8), np.zeros(shape)
    for b, i, j, c in np.ndindex(shape):
        seen, count = {}, 0
        for dy, dx in np.ndindex(rows[1], columns[1]):
            row, column = rows[0][i] + dy, columns[0][j] + dx
            inside = 0 <= row < SIZE[0] and 0 <= column < SIZE[1]
            padded = rows[3] <= row < rows[4] and columns[3] <= column < columns[4]
            count += inside or (counts_padding and padded)
            if inside:
                seen[dy * columns[1] + dx] = float(x[b, row, column, c])
        switches[b, i, j, c] = max(seen, key=lambda at: (seen[at], -at))
        best[b, i, j, c], means[b, i, j, c] = max(seen.values()), sum(seen.values()) / count
    return best, switches, means, (rows[0], columns[0])


@pytest.mark.parametrize("name", POOLS)
def test_pools_are_those_of_loops_and_their_ways_down_the_adjoints(name):
    window, stride, padding, rounding = POOLS[name]
    rng = np.random.default_rng(0)
    x = rng.permutation(np.prod(SIZE) * 2).reshape(1, *SIZE, 2).astype(np.float32) // 2  # has ties
    counts_padding = name == "ceil"
    pool = Pool(window, stride, padding, rounding, "average", counts_padding)
    stage = AveragePool("pool1", 1, pool)
    ends = tuple(stage.pads(n, axis) for axis, n in enumerate(SIZE))
    best, expected_switches, expected_means, starts = pooled_slowly(x, POOLS[name], counts_padding)
    seed = rng.normal(size=best.shape).astype(np.float32)

    @jax.jit
    def compute(x, seed):
        pooled, switches = max_pool_with_switches(x, window, stride, ends)
        gradient = jax.vjp(lambda x: max_pool_with_switches(x, window, stride, ends)[0], x)[1](seed)
        back = [
            max_unpool(seed, switches, SIZE, window, stride, ends, overlap)
            for overlap in slow.OVERLAP
        ]
        means = stage.forward(x, {}, Up(jnp.float32, "highest"))[0]
        frame = Frame(SIZE, ends, Place((0, 0), SIZE))
        spread = stage.down(seed, {}, {}, frame, Down())
        transposed = jax.vjp(lambda x: stage.forward(x, {}, Up(jnp.float32, "highest"))[0], x)[1]
        return (pooled, switches, gradient[0], back), (means, spread, transposed(seed)[0])

    (pooled, switches, gradient, back), (means, spread, transposed) = compute(x, seed)
    np.testing.assert_array_equal(pooled, best)
    np.testing.assert_array_equal(switches, expected_switches)
    assert switches.dtype == np.uint8
    np.testing.assert_allclose(means, expected_means, rtol=1e-5)
    np.testing.assert_allclose(spread, transposed, atol=1e-5)
    inner = (np.float64(means) * seed).sum(), (np.float64(x) * np.asarray(spread)).sum()
    np.testing.assert_allclose(*inner, rtol=1e-5)
    rows, columns = (np.asarray(n, int) for n in switch_positions(switches, window))
    named: dict = {}
    for b, i, j, c in np.ndindex(seed.shape):
        place = b, starts[0][i] + rows[b, i, j, c], starts[1][j] + columns[b, i, j, c], c
        named.setdefault(place, []).append(seed[b, i, j, c])
    rules = {"sum": sum, "max": max, "mean": np.mean, "overwrite": lambda values: values[-1]}
    for rule, unpooled in zip(slow.OVERLAP, back, strict=True):
        result = np.zeros(x.shape)
        for place, values in named.items():
            result[place] = rules[rule](values)
        np.testing.assert_allclose(unpooled, result, atol=1e-5, err_msg=rule)
    np.testing.assert_allclose(gradient, back[0], atol=1e-6)


def test_windows_larger_than_a_byte_counts_are_errors():
    with pytest.raises(
        ValueError, match=r"product is at most 256, and stride positive, got \(9, 3"
    ):
        max_pool_with_switches(jnp.zeros((1, 40, 40, 1)), (9, 30), 1, 0)


def test_layers_that_are_equal_are_one_however_they_are_written():
    """What a config file keeps as lists, too."""
    assert Conv(1, 4, [3, 3], [2, 2], [[1, 1], [1, 1]], dilation=[1, 1]) == Conv(1, 4, 3, 2, 1)
    conv = Conv(1, 4, [3, 5], 1, [1, [2, 0]])
    assert (conv.kernel, conv.padding) == ((3, 5), ((1, 1), (2, 0)))
    assert hash(conv) == hash(Conv(1, 4, (3, 5), (1, 1), ((1, 1), (2, 0))))
    assert Pool([2, 2], 2, [1, 0]) == Pool(2, 2, ((1, 1), (0, 0)))
    with pytest.raises(ValueError, match="conv1: its kernel: expected a number or a pair"):
        Conv(1, 4, (3, 3, 3))
    with pytest.raises(ValueError, match="pool: its padding: expected a number or"):
        Pool(2, 2, ("1", 1))
    with pytest.raises(ValueError, match=r"padding in \[0, window\)"):
        Pool((3, 1), 1, 1)
    with pytest.raises(ValueError, match="an input of 4 pixels is smaller than its 5-pixel filter"):
        Conv(1, 4, (1, 3), dilation=(1, 2)).size(4, axis=1)


@dataclasses.dataclass(frozen=True)
class Odd(Architecture):
    """Every kind of window."""

    @functools.cached_property
    def stages(self):
        first, second, third, fourth = self.convs
        return (
            Filter("conv1", 1, first),
            Relu("conv1", 1),
            MaxPool("pool1", 1, Pool((2, 3), (1, 2), ((1, 0), (0, 2)))),
            Filter("conv2", 2, second),
            Relu("conv2", 2),
            AveragePool("pool2", 2, Pool((3, 2), (2, 1), ((0, 1), 0), "ceil", "average", False)),
            Filter("conv3", 3, third),
            Relu("conv3", 3),
            Filter("conv4", 4, fourth),
            Relu("conv4", 4),
            Logits("logits", 5, self.classes),
        )


NET = Odd(
    (
        Conv(1, 4, (3, 5), (2, 1), ((0, 1), (2, 1))),
        Conv(2, 8, 3, 1, ((1, 0), (2, 1)), groups=4),
        Conv(3, 5, (3, 2), 1, (1, (0, 2)), dilation=(2, 3)),
        Conv(4, 10, (2, 3), (1, 2), (0, 1), groups=5),
    ),
    (), 3, 0.0,
)  # fmt: skip
IMAGE = (37, 29)
MODEL = slow.exact_model(NET)
LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4")


@pytest.fixture(scope="module")
def computed():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, *IMAGE, 3)).astype(np.float32)
    params = slow.random_params(MODEL, images.shape)
    return images, params, *slow.answers(MODEL, params, images)


def in_torch(params, images):
    """Maps by name, and the images that they hang from, [B, C, H, W]."""
    import torch

    functional = torch.nn.functional
    x = image = torch.tensor(images.transpose(0, 3, 1, 2), requires_grad=True)
    maps = {}
    for conv in NET.convs:
        (top, bottom), (left, right) = conv.pads
        kernel = torch.tensor(params[conv.name]["kernel"].transpose(3, 2, 0, 1))
        x = functional.conv2d(
            functional.pad(x, (left, right, top, bottom)), kernel,
            torch.tensor(params[conv.name]["bias"]), conv.stride, 0, conv.dilation, conv.groups,
        ).relu()  # fmt: skip
        maps[conv.name] = x
        if conv.number == 1:
            x = functional.pad(x, (0, 2, 1, 0), value=-torch.inf)
            x = maps["pool1"] = functional.max_pool2d(x, (2, 3), (1, 2))
        if conv.number == 2:
            ones = torch.ones_like(x)
            rows = functional.pad(torch.stack([x, ones]), (0, 0, 0, 1)).flatten(0, 1)
            sums, counts = functional.avg_pool2d(
                rows, (3, 2), (2, 1), ceil_mode=True, divisor_override=1
            ).unflatten(0, (2, -1))
            x = maps["pool2"] = sums / counts
    return maps, image


def test_a_net_of_them_is_that_of_pytorch_and_its_way_down_the_gradient(computed):
    """By the forward mask, from the strongest units of a map."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    images, params, _, activations = computed
    maps, image = in_torch(params, images)
    shapes = geometry.shapes(NET, (*IMAGE, 3))
    for layer, expected in maps.items():
        found = np.asarray(activations[layer])
        assert shapes[layer] == found.shape[1:]
        np.testing.assert_allclose(
            found, expected.detach().numpy().transpose(0, 2, 3, 1), atol=1e-5, err_msg=layer
        )
        sides = [geometry.layer_sizes(NET, n, axis)[layer] for axis, n in enumerate(IMAGE)]
        assert tuple(sides) == found.shape[1:3]
    for layer in ("pool1", "pool2", "conv4"):
        seed = np.asarray(units.strongest_unit(activations[layer], 1) > 0, np.float32)
        (gradient,) = torch.autograd.grad(
            maps[layer], image, torch.tensor(seed.transpose(0, 3, 1, 2)), retain_graph=True
        )
        down = deconvnet.project(
            NET, params, activations, layer, seed, IMAGE, rectify="forward_mask"
        )
        np.testing.assert_allclose(down, gradient.permute(0, 2, 3, 1), atol=1e-5, err_msg=layer)


@pytest.mark.parametrize(
    ("layer", "rule"),
    [("pool1", ("guided", "mean")), ("pool2", ("deconvnet", "max")), ("conv4", ("guided", "sum"))],
)
def test_units_are_projected_alone_as_among_all(computed, layer, rule):
    _, params, _, activations = computed
    _, height, width, _ = activations[layer].shape
    last = (height - 1, width - 1)
    places = np.array([[0, 0, 0], [0, *last], [1, 1, 2], [1, last[0], 0]])
    check_units(NET, params, activations, layer, places, IMAGE, rule)
    position = places[:, 1:]
    rows, columns = geometry.receptive_fields(NET, layer)
    for (row, column), window in zip(position.tolist(), seen_by(NET, layer, position).tolist()):
        (top, bottom), (left, right) = rows.window(row), columns.window(column)
        assert window == [top, left, bottom, right]


@pytest.mark.parametrize("layer", ["pool1", "conv3"])
def test_occlusion_recomputes_windows_exactly(computed, layer):
    images, params, *_ = computed
    grid = Grid(IMAGE, (0, 15, 33), (0, 11, 25), 4)
    check_occlusion(MODEL, params, images, grid, layer, fill=-3)


def test_drawings_say_what_the_windows_are():
    lines = [stage.words().lines for stage in NET.map_stages]
    assert lines[0] == ("filter 3 x 5", "stride 2 x 1", "padding 0, 1 x 2, 1")
    assert lines[2] == ("max pool 2 x 3", "stride 1 x 2", "padding 1, 0 x 0, 2")
    assert lines[6] == ("filter 3 x 2", "stride 1", "padding 1, 1 x 0, 2", "dilation 2 x 3")
    assert lines[8] == ("filter 2 x 3", "stride 1 x 2", "padding 0 x 1", "5 groups")
