"""How features and the answer change as a photo is moved, enlarged and turned (Fig. 5).

The paper compares layers 1 and 7: a layer counts with its output, what the next layer sees, so
layer 1 is its maps after pooling and contrast norm where it has them ('norm1', 'pool1', else
'conv1') and layer 7 the rectified 'fc7'.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfnet_jax import model, parallel, passes
from zfnet_jax.architecture import Architecture
from zfnet_jax.data import augment, batches
from zfnet_jax.data.augment import Scale
from zfnet_jax.data.images import Images
from zfnet_jax.model import ZFNet
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.invariance import transforms
from zfnet_jax.studies.invariance.options import Kind, Sweeps
from zfnet_jax.studies.invariance.transforms import IDENTITY
from zfnet_jax.training.optimizer import Params
from zfnet_jax.windows import Pair

Arrays = dict[str, np.ndarray]


def first_and_last(architecture: Architecture) -> tuple[str, str]:
    """Outputs of the first layer and of the last before the softmax: 1 and 7 of the paper's net."""
    outputs = list(architecture.outputs.values())
    return outputs[0], outputs[-1]


def measure(
    run: Run,
    images: Images,
    sweeps: Sweeps,
    layers: Sequence[str],
    *,
    batch_size: int,
    progress: bool = True,
) -> Arrays:
    """Distances of features from those of the untransformed photo, and the answer.

    Photos are transformed at their stored size and cropped afterwards, so that real pixels come
    into view first; beyond the photo stands the training set's mean, which the net sees as zero.

    Args:
      run: the net.
      images: N photos and their classes.
      sweeps: T amounts of each transformation.
      layers: names of activations.
      batch_size: photos per step, of all devices and processes together.
      progress: whether to show a bar for each transformation, with photos per second and the time
        left.

    Returns:
      'kinds', 'layers', names; 'labels' [N] int32; 'norm/{layer}' [N] float32, the Euclidean norm
      of the untransformed photo's features; 'probability' [N] float32 of the true class and 'class'
      [N] int32, the most probable one, both of the untransformed photo; and per kind
      '{kind}/amount' [T], '{kind}/distance/{layer}' [N, T] float32, Euclidean,
      '{kind}/relative/{layer}' [N, T], the same divided by 'norm/{layer}', NaN where that is zero,
      '{kind}/probability' [N, T] and '{kind}/class' [N, T]. A net without a classifier has no
      probabilities and classes, and the labels say nothing of it.

    Raises:
      ValueError: there are no images, a label or layer that the net does not have, or an amount
        that leaves nothing of a photo.
    """
    _check(run, images, sweeps, layers)
    params, mean = parallel.replicate((run.params, run.mean))
    found: dict[Kind, list[Arrays]] = {}
    for kind, values in sweeps.items():
        amounts = np.concatenate([[IDENTITY[kind]], values]).astype(np.float32)
        step = _make_step(
            run.net,  # pyrefly: ignore [bad-argument-type]  (it has a hash, of its fields)
            run.input_size,
            run.scale,
            kind,
            tuple(layers),
        )
        seen = passes.over_images(
            images,
            passes.gathered(step, shared=3),
            (params, mean, parallel.replicate(amounts)),
            batch_size=batch_size,
            title=f"invariance, {kind}",
            progress=progress,
        )
        found[kind] = [arrays for _, arrays in seen]
    return _result(images, sweeps, layers, found)


@functools.lru_cache(maxsize=16)  # or every call would compile anew
def _make_step(
    net: ZFNet, crop: Pair, scale: Scale, kind: Kind, layers: tuple[str, ...]
) -> Callable[..., dict[str, jax.Array]]:
    """(params, mean, amounts [1 + T], the first of them none, batch) -> arrays [b, 1 + T]."""

    def step(
        params: Params, mean: jax.Array, amounts: jax.Array, batch: batches.Batch[jax.Array]
    ) -> dict[str, jax.Array]:
        centre = augment.centre(mean, crop)

        def look(amount: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
            photos = transforms.transform(batch.images, kind, amount, crop, outside=centre)
            inputs = augment.centre_crops(photos, centre, crop, scale)
            logits, activations = model.forward(net, params, inputs)
            return {layer: activations[layer] for layer in layers}, jax.nn.softmax(logits)

        # The first amount leaves photos as they are; its features are carried along, so that they
        # come from the same program as the ones they are compared with.
        def compare(
            reference: dict[str, jax.Array], place_and_amount: tuple[jax.Array, jax.Array]
        ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
            place, amount = place_and_amount
            features, probabilities = look(amount)
            reference = jax.tree.map(
                lambda old, new: jnp.where(place == 0, new, old), reference, features
            )
            result = {f"distance/{n}": _norm(features[n] - reference[n]) for n in layers}
            result |= {f"norm/{n}": _norm(features[n]) for n in layers}
            if probabilities.shape[1]:  # the net has a classifier
                result["probability"] = jnp.take_along_axis(
                    probabilities, batch.labels[:, None], axis=1
                )[:, 0]
                result["class"] = jnp.argmax(probabilities, axis=1).astype(jnp.int32)
            return reference, result

        shapes, _ = jax.eval_shape(look, amounts[0])
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        _, results = lax.scan(compare, nothing, (jnp.arange(len(amounts)), amounts))
        return {name: array.T for name, array in results.items()}

    return step


def _norm(features: jax.Array) -> jax.Array:
    """[B, ...] to [B]."""
    return jnp.sqrt(jnp.sum(features**2, axis=tuple(range(1, features.ndim))))


def _result(
    images: Images,
    sweeps: Sweeps,
    layers: Sequence[str],
    found: Mapping[Kind, list[Arrays]],
) -> Arrays:
    result: Arrays = {
        "kinds": np.array(list(sweeps)),
        "layers": np.array(list(layers)),
        "labels": np.asarray(images.labels, np.int32),
    }
    for kind, parts in found.items():
        joined = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
        if not all(np.isfinite(array).all() for array in joined.values()):
            raise FloatingPointError(
                "a feature is not finite: the net's weights or a photo's are damaged"
            )
        result |= {f"norm/{layer}": joined[f"norm/{layer}"][:, 0] for layer in layers}
        answers = [name for name in ("probability", "class") if name in joined]
        result |= {name: joined[name][:, 0] for name in answers}
        result[f"{kind}/amount"] = np.asarray(sweeps[kind], np.float32)
        for name in (*(f"distance/{layer}" for layer in layers), *answers):
            result[f"{kind}/{name}"] = joined[name][:, 1:]
        for layer in layers:
            norms, distances = result[f"norm/{layer}"][:, None], joined[f"distance/{layer}"][:, 1:]
            unknown = np.full(distances.shape, np.nan, np.float32)
            result[f"{kind}/relative/{layer}"] = np.divide(
                distances, norms, out=unknown, where=norms > 0
            )
    return result


def transformed(run: Run, photos: np.ndarray, sweeps: Sweeps, count: int) -> Arrays:
    """What the net saw at some amounts of each sweep, for the figure.

    Args:
      photos: [N, S, S, C] uint8.
      count: amounts of each sweep, evenly spread; all if there are fewer.

    Returns:
      per kind '{kind}/shown' [K], the amounts, and '{kind}/photo' [N, K, H, W, C] uint8.
    """
    draw = jax.jit(transforms.transform, static_argnums=(1, 3))
    crop, result = run.input_size, {}
    outside = augment.centre(np.asarray(run.mean), crop)
    for kind, amounts in sweeps.items():
        few = np.unique(np.linspace(0, len(amounts) - 1, count).round().astype(int))
        shown = np.asarray(amounts, np.float32)[few]
        views = [draw(photos, kind, amount, crop, outside) for amount in shown]
        result[f"{kind}/shown"] = shown
        result[f"{kind}/photo"] = np.stack(views, axis=1).round().astype(np.uint8)
    return result


def _check(run: Run, images: Images, sweeps: Sweeps, layers: Sequence[str]) -> None:
    if not len(images):
        raise ValueError("invariance needs at least one image")
    if not sweeps:
        raise ValueError("invariance needs at least one transformation")
    (size, _, channels), classes = run.mean.shape, len(run.class_names)
    for kind, amounts in sweeps.items():
        transforms.check_amounts(kind, np.asarray(amounts), size, run.input_size)
    for label in np.asarray(images.labels) if classes else ():
        if not 0 <= label < classes:
            raise ValueError(f"there is no class {label}: the net tells {classes} apart, from 0 on")
    shapes = jax.eval_shape(
        run.forward, jax.ShapeDtypeStruct((1, *run.input_size, channels), np.float32)
    )
    there = [name for name in shapes[1] if not name.startswith("switches")]
    for layer in layers:
        if layer not in there:
            raise ValueError(f"no activation {layer!r}: the net has {', '.join(there)}")
