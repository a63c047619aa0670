"""What must hold for any input, with examples drawn by hypothesis; few of them, for time."""

from __future__ import annotations

import functools
import io
import math

import jax
import numpy as np
import pytest
from absl import flags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ml_collections import config_flags
from PIL import Image

from configs import quickstart
from tests import slow_reference as slow
from zfnet_jax import geometry, pooling
from zfnet_jax.architecture import Architecture
from zfnet_jax.data import augment, batches, decode
from zfnet_jax.data.prepared import PreparedSplit
from zfnet_jax.layer_specs import RELU, Conv, Pool
from zfnet_jax.sweep.plan import flat


def some(count: int):
    """Settings: so many examples, the same ones in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
    )


# Pooling and unpooling.

pool_jit = jax.jit(pooling.max_pool_with_switches, static_argnums=(1, 2, 3))
unpool_jit = jax.jit(pooling.max_unpool, static_argnums=(2, 3, 4, 5, 6))


@st.composite
def pools(draw):
    window = draw(st.integers(1, 4))
    size = tuple(draw(st.integers(max(1, window - 1), 6)) for _ in range(2))
    sides = st.integers(0, window - 1)
    pads = tuple((draw(sides), draw(sides)) for _ in range(2))
    if any(n + sum(pad) < window for n, pad in zip(size, pads)):
        pads = ((0, 1), (1, 0))
    values = draw(st.integers(0, 2**31))
    # Few different values, so that there are ties.
    x = np.random.default_rng(values).integers(-2, 3, (1, *size, 2)).astype(np.float32)
    return x, window, draw(st.integers(1, window + 1)), pads


@some(5)
@given(pools(), st.sampled_from(slow.OVERLAP))
def test_pooling_and_unpooling_are_those_of_loops(pool, overlap):
    x, window, stride, pads = pool
    rows, columns = (
        slow.window_starts(n, window, stride, pad) for n, pad in zip(x.shape[1:3], pads)
    )
    pooled, switches = jax.device_get(pool_jit(x, window, stride, pads))
    expected, expected_switches = slow.max_pool(x, window, rows, columns)
    inside = [
        (i, j)
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
        if row < x.shape[1] and row + window > 0 and column < x.shape[2] and column + window > 0
    ]
    assert pooled.shape == expected.shape
    for i, j in inside:  # a window of padding alone has nothing to say
        np.testing.assert_array_equal(pooled[:, i, j], expected[:, i, j])
        np.testing.assert_array_equal(switches[:, i, j], expected_switches[:, i, j])
    if len(inside) == len(rows) * len(columns):
        back = np.asarray(unpool_jit(pooled, switches, x.shape, window, stride, pads, overlap))
        size = x.shape[1:3]
        reference = slow.unpool(expected, expected_switches, size, window, rows, columns, overlap)
        np.testing.assert_allclose(back, reference, rtol=1e-6)
        total = np.sum(expected * pooled)  # <pool x, y> = <x, unpool y> with y = pool x
        if overlap == "sum":
            assert np.sum(back * x) == pytest.approx(total)


# Cropping.


@some(25)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4))
def test_crops_lie_inside_the_image_and_the_centre_is_in_the_middle(size, crop, batch):
    crop = min(size, crop)
    image = np.arange(size * size).reshape(1, size, size, 1).repeat(batch, 0)
    middle = np.asarray(augment.centre(image, (crop, crop)))
    assert middle.shape == (batch, crop, crop, 1)
    top, left = divmod(int(middle[0, 0, 0, 0]), size)
    assert abs((size - crop - top) - top) <= 1
    assert top == left
    np.testing.assert_array_equal(middle, image[:, top : top + crop, left : left + crop])


@some(40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40))
def test_the_square_of_a_photo_is_cut_from_its_middle(width, height, size):
    """A photo whose pixels are all alike but for what the square must leave out."""
    short = min(width, height)
    pixels = np.zeros((height, width, 3), np.uint8)
    edge = (max(width, height) - short) // 2 - 4  # the filter looks a few pixels further
    edge = max(0, edge - 2 * math.ceil(short / size))
    axis = 1 if width > height else 0
    marked = np.moveaxis(pixels, axis, 0)
    marked[:edge] = 255
    marked[len(marked) - edge :] = 255
    square = decode.centre_square(Image.fromarray(pixels), size)
    assert square.shape == (size, size, 3)
    assert not square.any()


# Receptive fields.


@st.composite
def architectures(draw):
    convs = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        window = draw(st.integers(1, 3))
        pool = Pool(
            window,
            draw(st.integers(1, 3)),
            draw(st.integers(0, window - 1)),
            draw(st.sampled_from(["floor", "ceil"])),
        )
        kernel = draw(st.integers(1, 5))
        convs.append(
            Conv(
                number,
                2,
                kernel,
                draw(st.integers(1, 3)),
                draw(st.integers(0, kernel - 1)),
                then=draw(st.sampled_from([(RELU, pool), (RELU,)])),
            )
        )
    return Architecture(tuple(convs), (), classes=2, dropout=0.0)


@some(60)
@given(architectures(), st.integers(20, 80))
def test_units_see_the_pixels_of_their_receptive_field(net, size):
    """Followed pixel by pixel: the set that each unit sees, layer after layer."""
    try:
        sizes = geometry.layer_sizes(net, size)
    except ValueError:
        return  # the images are too small for the net
    sees = [{pixel} for pixel in range(size)]
    for conv in net.convs:
        stages = [(conv.name, conv.kernel, conv.stride, conv.padding)]
        if conv.pool:
            pool = conv.pool
            stages.append((f"pool{conv.number}", pool.window, pool.stride, pool.padding))
        for layer, window, stride, padding in stages:
            below = sees
            sees = [
                set().union(*below[max(start, 0) : max(start + window, 0)])
                for start in range(-padding, sizes[layer] * stride - padding, stride)
            ]
            field = geometry.receptive_field(net, layer)
            for unit, pixels in enumerate(sees):
                first, end = field.window(unit)
                assert pixels <= set(range(max(first, 0), min(end, size)))
                # Inside the image nothing is missing but what strides step over.
                if first >= 0 and end <= size and len(pixels) and stride <= window:
                    dense = all(
                        c.stride <= c.kernel and (not c.pool or c.pool.stride <= c.pool.window)
                        for c in net.convs
                    )
                    assert not dense or pixels == set(range(first, end))


# Batches.


def split_of(count: int) -> PreparedSplit:
    return PreparedSplit(
        images=np.zeros((count, 1, 1, 3), np.uint8),
        labels=np.arange(count, dtype=np.int32),
        keys=tuple(map(str, range(count))),
        class_names=("a",),
        mean=None,
        fingerprint="",
    )


@some(60)
@given(
    count=st.integers(1, 70),
    processes=st.integers(1, 6),
    devices=st.integers(1, 4),
    per_device=st.integers(1, 4),
    epoch=st.integers(0, 3),
    data=st.data(),
)
def test_every_image_once_for_any_number_of_processes_and_devices(
    count, processes, devices, per_device, epoch, data
):
    split, size = split_of(count), processes * devices * per_device

    def rows(kind, **more) -> list[np.ndarray]:
        """Per batch the rows of all processes in order."""
        parts = [
            [
                batch.index[batch.mask > 0]
                for batch in map(
                    functools.partial(batches.read, split),
                    kind(count, batch_size=size, process_index=p, process_count=processes, **more),
                )
            ]
            for p in range(processes)
        ]
        assert len({len(part) for part in parts}) == 1  # no process waits for another
        return [np.concatenate(batch) for batch in zip(*parts)]

    evaluated = rows(batches.eval_rows)
    assert np.concatenate(evaluated).tolist() == list(range(count))
    if count < size:
        with pytest.raises(ValueError, match="do not fill one batch"):
            rows(batches.train_rows, seed=0, epoch=epoch, start=0)
        return
    trained = rows(batches.train_rows, seed=0, epoch=epoch, start=0)
    seen = np.concatenate(trained)
    assert [len(batch) for batch in trained] == [size] * (count // size)
    assert len(set(seen.tolist())) == len(seen) == count // size * size
    start = data.draw(st.integers(0, len(trained)))
    rest = rows(batches.train_rows, seed=0, epoch=epoch, start=start)
    assert all(np.array_equal(a, b) for a, b in zip(rest, trained[start:], strict=True))


# Config overrides.

FIELDS = {
    field: value
    for field, value in flat(quickstart.get_config()).items()
    if isinstance(value, (int, float))
    and not isinstance(value, bool)
    and field not in ("augment.crop", "augment.scale")  # a number or several: see `augment.check`
}


def parsed(*arguments: str):
    values = flags.FlagValues()
    command = ["train", "--config=configs/quickstart.py", *arguments]
    holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=command)
    values(command)
    return flat(holder.value)


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
@some(40)
@given(st.sampled_from(sorted(FIELDS)), st.integers(-(10**9), 10**9))
def test_an_override_changes_its_field_alone_and_keeps_the_type(field, value):
    before = flat(quickstart.get_config())
    after = parsed(f"--config.{field}={value}")
    assert after[field] == value
    assert type(after[field]) is type(before[field])
    assert {k: v for k, v in after.items() if k != field} == {
        k: v for k, v in before.items() if k != field
    }


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@some(40)
@given(
    st.sampled_from(sorted(FIELDS)),
    st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6),
)
def test_an_override_of_the_wrong_type_or_name_is_refused(field, word):
    if word not in ("inf", "nan", "infinity"):
        with pytest.raises((flags.Error, ValueError, TypeError)):
            parsed(f"--config.{field}={word}")
    with pytest.raises((flags.Error, AttributeError, KeyError)):
        parsed(f"--config.{field}_{word}=1")


# The photo reader.


def encoded(kind: str) -> bytes:
    rng = np.random.default_rng(0)
    shape = (24, 31, 4) if kind == "WEBP" else (24, 31, 3)
    image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
    if kind == "16-bit":
        image, kind = Image.fromarray(rng.integers(0, 65536, (24, 31), dtype=np.uint16)), "PNG"
    if kind == "palette":
        image, kind = image.quantize(9), "PNG"
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}))
    return buffer.getvalue()


PHOTOS = {kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "16-bit", "palette")}


@pytest.mark.filterwarnings("ignore::UserWarning")
@some(400)
@given(
    st.sampled_from(sorted(PHOTOS)),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 6)), max_size=6),
    st.floats(0, 1),
)
def test_any_bytes_are_a_square_photo_or_a_reason(kind, changes, kept):
    """Bytes put in, taken out and overwritten, mostly near the header, and the end cut off."""
    photo = bytearray(PHOTOS[kind])
    for place, new, removed in changes:
        at = int(place**3 * len(photo))
        photo[at : at + removed] = new
    if kept < 0.3:
        del photo[int(kept / 0.3 * len(photo)) :]
    try:
        square = decode.centre_square(decode.decode(bytes(photo)), 16)
    except decode.UnreadablePhotoError:
        pass
    else:
        assert (square.shape, square.dtype) == ((16, 16, 3), np.uint8)
