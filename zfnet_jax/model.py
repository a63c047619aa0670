"""ZFNet (paper, Fig. 3) as a Flax Linen module; what it computes is data in the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from zfnet_jax import architecture, geometry
from zfnet_jax.architecture import Architecture, Conv
from zfnet_jax.contrast_norm import contrast_norm
from zfnet_jax.convolution import filter_maps
from zfnet_jax.pooling import max_pool_with_switches

Activations = dict[str, jax.Array]


class ZFNet(nn.Module):
    """A convnet of the ZFNet family.

    Attributes:
      architecture: layers, widths, dropout.
      kernel_init: initialiser of every filter and weight matrix; biases start at zero.
      first_init, logits_init: of the first layer and of the softmax layer, where they differ.
      dtype: what activations are computed in, float32 or bfloat16; parameters and class scores
        stay float32.
      precision: of matrix products, 'default', 'high' or 'highest' (full float32 on a GPU or TPU).
    """

    architecture: Architecture
    kernel_init: nn.initializers.Initializer
    first_init: nn.initializers.Initializer | None = None
    logits_init: nn.initializers.Initializer | None = None
    dtype: DTypeLike = jnp.float32
    precision: str = "default"

    @nn.compact
    def __call__(
        self, images: jax.Array, dropout_keys: jax.Array | None = None
    ) -> tuple[jax.Array, Activations]:
        """Class scores of images, with everything computed on the way.

        Args:
          images: [B, H, W, C], the per-pixel mean subtracted.
          dropout_keys: one key per image [B] to train with dropout, None to evaluate. Keyed by
            image, so that a step does not depend on how its images lie on devices.

        Returns:
          logits [B, classes] float32, and the activations by name. For layer n: 'conv{n}' the
          rectified maps, 'switches{n}' and 'pool{n}', 'norm{n}', each [B, H, W, C], where the
          layer has them; 'fc{n}' [B, units] for dense layers, as the next layer reads them in
          evaluation. What nobody uses costs nothing under jit.
        """
        net = self.architecture
        activations: Activations = {}
        x = images.astype(self.dtype)
        for conv in net.convs:
            x = self._conv_layer(conv, x, activations)

        x = x.reshape(x.shape[0], -1)
        for depth, (name, units) in enumerate(zip(net.dense_names, net.dense, strict=True)):
            x = nn.relu(self._dense(name, units, self.kernel_init, x, self.dtype))
            if dropout_keys is None and not net.dropout_scales_training:
                x = x * (1 - net.dropout)
            activations[name] = x
            if dropout_keys is not None and net.dropout:
                keys = jax.vmap(jax.random.fold_in, (0, None))(dropout_keys, depth)
                x = dropout(x, keys, net.dropout, net.dropout_scales_training)
        # In float32 whatever the rest is computed in: of a thousand scores in bfloat16 many tie.
        logits = self._dense(
            "logits", net.classes, self.logits_init or self.kernel_init, x, jnp.float32
        )
        return logits, activations

    def _conv_layer(self, conv: Conv, x: jax.Array, activations: Activations) -> jax.Array:
        """Filter and rectify, then pool and normalise where the layer does (Section 3)."""
        net, n = self.architecture, conv.number
        init = self.first_init if conv is net.convs[0] and self.first_init else self.kernel_init
        x = Filters(conv, init, self.dtype, self.precision, name=conv.name)(x)
        x = activations[conv.name] = nn.relu(x)
        if conv.contrast_norm and net.norm_before_pool:
            x = activations[f"norm{n}"] = contrast_norm(x, conv.contrast_norm)
        if conv.pool:
            pads = geometry.both_axes(
                geometry.pool_padding(size, conv.pool) for size in x.shape[1:3]
            )
            x, switches = max_pool_with_switches(x, conv.pool.window, conv.pool.stride, pads)
            activations[f"pool{n}"], activations[f"switches{n}"] = x, switches
        if conv.contrast_norm and not net.norm_before_pool:
            x = activations[f"norm{n}"] = contrast_norm(x, conv.contrast_norm)
        return x

    def _dense(
        self,
        name: str,
        units: int,
        init: nn.initializers.Initializer,
        x: jax.Array,
        dtype: DTypeLike,
    ) -> jax.Array:
        return nn.Dense(
            units,
            kernel_init=init,
            dtype=dtype,
            precision=self.precision,
            name=name,
        )(x)


class Filters(nn.Module):
    """The filters of one conv layer and their biases, float32, applied in `dtype`."""

    conv: Conv
    kernel_init: nn.initializers.Initializer
    dtype: DTypeLike
    precision: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = self.conv
        shape = (conv.kernel, conv.kernel, x.shape[3] // conv.groups, conv.maps)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (conv.maps,), jnp.float32)
        y = filter_maps(x, kernel.astype(self.dtype), conv, self.precision)
        return y + bias.astype(self.dtype)


def dropout(x: jax.Array, keys: jax.Array, rate: float, scales: bool = True) -> jax.Array:
    """Sets a share `rate` of each row to zero, one key per row.

    Args:
      x: [B, units].
      keys: [B] keys.
      scales: whether the rest is scaled up, so that the mean stays.
    """
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1 - rate) if scales else x, 0)


def from_config(config: ConfigDict, classes: int) -> ZFNet:
    """The net that `config.model` describes (see configs/architectures.py)."""
    normal = nn.initializers.normal(config.init_std)
    if config.init == "normal":
        inits: dict[str, Any] = {"kernel_init": normal}
    elif config.init == "he":
        # He et al. 2015 is for layers that a relu follows.
        inits = {
            "first_init": nn.initializers.variance_scaling(
                2 * config.first_init_scale**2, "fan_in", "truncated_normal"
            ),
            "kernel_init": nn.initializers.he_normal(),
            "logits_init": normal,
        }
    else:
        raise ValueError(f"model.init must be normal or he, got {config.init!r}")
    return ZFNet(
        architecture=architecture.from_config(config, classes),
        **inits,
        dtype=jnp.dtype(config.dtype),
        precision=config.precision,
    )


def forward(
    net: ZFNet, params: Mapping[str, Any], images: jax.Array
) -> tuple[jax.Array, Activations]:
    """Logits and activations in evaluation, see `ZFNet`."""
    answer: Any = net.apply({"params": params}, images)  # Flax cannot know its type
    return answer


def initial_params(net: ZFNet, seed: int, image_size: int, channels: int) -> dict[str, Any]:
    """Parameters before training, float32, for square images of `image_size` pixels."""
    images = jnp.zeros((1, image_size, image_size, channels))
    return jax.jit(net.init)(jax.random.key(seed), images)["params"]
