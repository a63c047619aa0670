"""ZFNet (paper, Fig. 3) as a Flax Linen module; what it computes is data in the architecture."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from zfnet_jax import architecture
from zfnet_jax.architecture import Architecture
from zfnet_jax.stages.stage import Activations, Stage, Up, Weights
from zfnet_jax.windows import Sides, both


class ZFNet(nn.Module):
    """A convnet of the ZFNet family.

    Attributes:
      architecture: layers, widths, dropout.
      kernel_init: initialiser of every filter and weight matrix; biases start at zero.
      first_init, logits_init: of the first layer and of the softmax layer, where they differ.
      dtype: what activations are computed in, float32 or bfloat16; parameters and class scores
        stay float32.
      precision: of matrix products in float32. 'highest' is full float32; 'default' is that on a
        CPU, TF32 (ten bits of mantissa) on an NVIDIA GPU, bfloat16 on a TPU; 'high' is between.
    """

    architecture: Architecture
    kernel_init: nn.initializers.Initializer
    first_init: nn.initializers.Initializer | None = None
    logits_init: nn.initializers.Initializer | None = None
    dtype: DTypeLike = jnp.float32
    precision: str = "default"

    @nn.compact
    def __call__(
        self,
        images: jax.Array | jax.ShapeDtypeStruct,
        dropout_keys: jax.Array | None = None,
        frozen: tuple[str, ...] = (),
    ) -> tuple[jax.Array, Activations]:
        """Class scores of images, with everything computed on the way.

        Args:
          images: [B, H, W, C], the per-pixel mean subtracted. `init` takes their shape alone, too:
            then the parameters are drawn, and no forward pass is traced.
          dropout_keys: one key per image [B] to train with dropout, None to evaluate. Keyed by
            image, so that a step does not depend on how its images lie on devices.
          frozen: layers that are computed as in evaluation, without dropout.

        Returns:
          logits [B, classes] float32, [B, 0] without a classifier; and the activations by name. For
          layer n: 'conv{n}' the rectified maps, 'switches{n}' and 'pool{n}', 'norm{n}', 'affine{n}'
          where the layer has them, 'pool{n}_2' of a second one, each [B, H, W, C]; 'fc{n}'
          [B, units] for dense layers, as the next layer reads them in evaluation. What nobody uses
          costs nothing under jit.
        """
        net = self.architecture
        up = Up(self.dtype, self.precision, dropout_keys)
        still = up._replace(dropout_keys=None)
        weighted = [stage for stage in net.stages if stage.weights]
        inits = {weighted[0]: self.first_init, weighted[-1]: self.logits_init}

        def weights_of(stage: Stage, inputs: tuple[int, ...]) -> Weights:
            if not stage.weights:
                return {}
            init = inits.get(stage) or self.kernel_init
            return Parameters(stage, inputs, init, name=stage.weights)()

        activations: Activations = {}
        if isinstance(images, jax.ShapeDtypeStruct):
            shape = images.shape[1:]
            for stage in net.stages:
                weights_of(stage, shape)
                shape = stage.shape(shape)
            return jnp.zeros((images.shape[0], net.classes), jnp.float32), activations
        x = images.astype(self.dtype)
        for stage in net.stages:
            with jax.named_scope(stage.name):
                weights = weights_of(stage, x.shape[1:])
                x, found = stage.forward(x, weights, still if stage.name in frozen else up)
            activations |= found
        if not net.stages[-1].scores:
            x = jnp.zeros((x.shape[0], 0), jnp.float32)
        return x, activations


class Parameters(nn.Module):
    """The parameters of one stage, float32, for inputs of a shape [H, W, C] or [N]."""

    stage: Stage
    inputs: tuple[int, ...]
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        made = self.stage.parameters(self.inputs, self.kernel_init)
        return {
            name: self.param(name, init, shape, jnp.float32) for name, (init, shape) in made.items()
        }


def from_config(config: ConfigDict, classes: int) -> ZFNet:
    """The net that `config.model` describes (see configs/architectures.py)."""
    normal = _normal(config.init_std)
    if config.init == "normal":
        inits: dict[str, Any] = {"kernel_init": normal}
    elif config.init == "he":
        # He et al. 2015 is for layers that a relu follows.
        inits = {
            "first_init": _he(config.first_init_scale),
            "kernel_init": _he(1.0),
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


# Kept, so that equal configs give equal nets, which share what is compiled for them.
_normal = functools.cache(nn.initializers.normal)


@functools.cache
def _he(scale: float) -> nn.initializers.Initializer:
    """He et al. 2015, times `scale`."""
    return nn.initializers.variance_scaling(2 * scale**2, "fan_in", "truncated_normal")


def forward(
    net: ZFNet, params: Mapping[str, Any], images: jax.Array
) -> tuple[jax.Array, Activations]:
    """Logits and activations in evaluation, see `ZFNet`."""
    answer: Any = net.apply({"params": params}, images)  # Flax cannot know its type
    return answer


def initial_params(net: ZFNet, seed: int, image_size: Sides, channels: int) -> dict[str, Any]:
    """Parameters before training, float32, for images of so many pixels a side."""
    # A program for numbers that are drawn once: compiled in half the time, to the same bits.
    quickly = {"xla_backend_optimization_level": 1}
    draw = jax.jit(_initial(net, image_size, channels), compiler_options=quickly)
    return draw(jax.random.key(seed))


def parameter_shapes(net: ZFNet, image_size: Sides, channels: int) -> dict[str, Any]:
    """The shapes of `initial_params`, for which nothing is computed."""
    return jax.eval_shape(_initial(net, image_size, channels), jax.random.key(0))


def _initial(net: ZFNet, image_size: Sides, channels: int) -> Callable[[jax.Array], Any]:
    images = jax.ShapeDtypeStruct((1, *both(image_size), channels), jnp.float32)
    return lambda key: net.init(key, images)["params"]
