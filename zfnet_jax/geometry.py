"""Integer arithmetic of layers: sizes, paddings, receptive fields. No arrays.

Everything is per axis: images need not be square.
"""

from __future__ import annotations

import dataclasses

from zfnet_jax.architecture import Architecture, Conv, Pool


def conv_size(size: int, conv: Conv) -> int:
    """Pixels along one axis after the convolution. ValueError if nothing is left."""
    out = (size + 2 * conv.padding - conv.kernel) // conv.stride + 1
    if out < 1:
        raise ValueError(
            f"{conv.name}: an input of {size} pixels is smaller than its {conv.kernel}-pixel "
            "filter; use larger images or fewer layers"
        )
    return out


def pool_size(size: int, pool: Pool) -> int:
    """Pixels along one axis after pooling.

    With 'ceil' a last partial window counts if it starts inside the map or its left padding (the
    rule of Caffe and PyTorch), so that no window holds padding alone.
    """
    room = size + 2 * pool.padding - pool.window
    if room < 0 and not (pool.rounding == "ceil" and room > -pool.window):
        raise ValueError(
            f"a map of {size} pixels is smaller than its {pool.window}-pixel pooling window; "
            "use larger images or fewer layers"
        )
    if pool.rounding == "floor":
        return room // pool.stride + 1
    out = -(-room // pool.stride) + 1
    if (out - 1) * pool.stride >= size + pool.padding:
        out -= 1
    return max(out, 1)


def pool_padding(size: int, pool: Pool) -> tuple[int, int]:
    """Padding (before, after) along one axis that makes every window of `pool_size` whole."""
    reach = (pool_size(size, pool) - 1) * pool.stride + pool.window
    return pool.padding, max(pool.padding, reach - size - pool.padding)


def layer_sizes(architecture: Architecture, size: int) -> dict[str, int]:
    """Pixels along one axis of every layer of maps, by name ('conv1', 'pool1', ...)."""
    sizes = {}
    for conv in architecture.convs:
        size = sizes[conv.name] = conv_size(size, conv)
        if conv.pool:
            size = sizes[f"pool{conv.number}"] = pool_size(size, conv.pool)
    return sizes


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """What one unit of a layer sees, along one axis, in pixels of the image.

    Unit i sees pixels [start + i * jump, start + i * jump + size); those outside the image are
    padding.
    """

    size: int
    jump: int
    start: int

    def window(self, index: int) -> tuple[int, int]:
        """First pixel and the one past the last that unit `index` sees; may leave the image."""
        first = self.start + index * self.jump
        return first, first + self.size


def receptive_field(architecture: Architecture, layer: str) -> ReceptiveField:
    """The receptive field of a layer of maps, 'conv3' or 'pool5', along one axis."""
    last, kind = architecture.depth_of(layer)
    field = ReceptiveField(size=1, jump=1, start=0)
    for index, conv in enumerate(architecture.convs[: last + 1]):
        field = _through(field, conv.kernel, conv.stride, conv.padding)
        if conv.pool and (index < last or kind == "pool"):
            field = _through(field, conv.pool.window, conv.pool.stride, conv.pool.padding)
    return field


def _through(field: ReceptiveField, window: int, stride: int, padding: int) -> ReceptiveField:
    return ReceptiveField(
        size=field.size + (window - 1) * field.jump,
        jump=field.jump * stride,
        start=field.start - padding * field.jump,
    )
