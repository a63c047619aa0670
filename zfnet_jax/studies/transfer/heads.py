"""Linear heads on inner products of features: softmax regression and the linear SVM.

Both minimise, for m training images with features x and labels y,

    1/2 |W|^2 + C sum_i loss(x_i W + b, y_i)

as scikit-learn's LogisticRegression and LinearSVC do. Softmax: the cross entropy; the bias b is not
penalised. SVM: one class against the rest, squared hinge; the penalty has 1/2 |b|^2 too, as
LinearSVC's has with its intercept_scaling of 1.

The best W is a sum of the training images, W = X' alpha, so alpha [m, K] is what is searched, and
the features are seen through their inner products alone. The search is by conjugate gradients in
the metric of W (Polak and Ribiere, nonlinear), with an exact step along each direction, and
preconditioned by the strongest directions of the features. It takes one product with the inner
products a step, on the device, for all that is searched at once: the classes of an SVM, and its
values of C, are problems of their own; those that are solved drop out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from zfnet_jax.studies.transfer.gram import Kernel, Products, times
from zfnet_jax.studies.transfer.options import Head

_MAX_STEPS = 2000
_ROUND = 16  # steps between looks at which problems are solved
_NEWTON_STEPS = 5  # along a direction
_BASIS = 512  # directions that precondition
# Weaker ones, as a share of the strongest, are below what preconditions well in float32.
_WEAKEST = 1e-3


class Weights(NamedTuple):
    """Of a linear head: `alpha` [m, K], shares of the training images, and `bias` [K]."""

    alpha: jax.Array
    bias: jax.Array


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """[m, K] float32 `targets` of `fit`, of labels [m]."""
    return np.eye(classes, dtype=np.float32)[labels]


def logits(products: Products, weights: Weights) -> np.ndarray:
    """[S, K] float32 of the test images."""
    features = products.train.rows
    own = weights.alpha if features is None else _matmul(features.T, weights.alpha)
    return np.asarray(_matmul(products.test, own) + weights.bias)


class _Basis(NamedTuple):
    """The strongest directions of m images, as shares of them: orthonormal in the metric of W.

    Attributes:
      shares: [m, k]; 0 where there are fewer directions.
      products: [m, k], the inner products times `shares`.
      strengths: [k], eigenvalues of the inner products.
      weakest: that of directions that are left out, at most.
    """

    shares: jax.Array
    products: jax.Array
    strengths: jax.Array
    weakest: jax.Array


class _State(NamedTuple):
    """Of the search, P columns; numbers of a problem are [P], or [1] if all columns are one.

    `products` are the inner products times `alpha`, `direction_products` times `direction`.
    """

    alpha: jax.Array
    bias: jax.Array
    products: jax.Array
    direction: jax.Array
    bias_direction: jax.Array
    direction_products: jax.Array
    gradient: jax.Array
    bias_gradient: jax.Array
    square: jax.Array
    share: jax.Array


def fit(
    head: Head,
    kernel: Kernel,
    targets: np.ndarray,
    cs: Sequence[float],
    *,
    tolerance: float,
) -> list[Weights]:
    """The weights of heads with several C, from which the gradient has all but vanished.

    Args:
      head: the loss.
      kernel: of m training images.
      targets: [m, K], how often an image is an example of a class; of an SVM once, of one class.
      cs: values of C, ascending.
      tolerance: the search ends where the norm of a problem's preconditioned gradient is this share
        of its norm at zero weights.

    Returns:
      the weights with each C.

    Raises:
      ValueError: the search does not end.
    """
    images, classes = targets.shape
    basis = _basis(kernel, min(_BASIS, images))
    examples = jnp.asarray(targets, jnp.float32)
    empty = Weights(jnp.zeros((images, classes)), jnp.zeros(classes))
    if head == "softmax":
        found = []
        for c in cs:
            start = found[-1] if found else empty
            found.append(_search(head, kernel, basis, examples, [c], tolerance, start))
        return found
    count = len(cs)
    start = Weights(jnp.tile(empty.alpha, (1, count)), jnp.tile(empty.bias, count))
    weights = _search(head, kernel, basis, jnp.tile(examples, (1, count)), cs, tolerance, start)
    alphas, biases = jnp.split(weights.alpha, count, 1), jnp.split(weights.bias, count)
    return [Weights(*pair) for pair in zip(alphas, biases)]


def _search(
    head: Head,
    kernel: Kernel,
    basis: _Basis,
    targets: jax.Array,
    cs: Sequence[float],
    tolerance: float,
    start: Weights,
) -> Weights:
    """The weights [m, P] of problems that are solved at once; those of each C lie together."""
    columns = start.bias.shape[0]
    c = jnp.repeat(jnp.asarray(cs, jnp.float32), 1 if head == "softmax" else columns // len(cs))
    alpha, bias = np.array(start.alpha), np.array(start.bias)
    zero = jax.tree.map(jnp.zeros_like, start)
    first = _begin(head, kernel, basis, targets, c, jnp.ones_like(c), zero).square
    state = _begin(head, kernel, basis, targets, c, first, start)
    problem = (targets, c, first)
    place = np.arange(columns)  # of the columns that are searched
    for _ in range(0, _MAX_STEPS, _ROUND):
        state = _advance(head, kernel, basis, *problem, jnp.float32(tolerance), state)
        unsolved = ~(np.asarray(state.share) <= tolerance)  # those that are no numbers, too
        if head == "softmax":
            unsolved = np.repeat(unsolved, columns)
        kept = _filled_up(np.flatnonzero(unsolved), len(place))
        if len(kept) == len(place):
            continue
        alpha[:, place], bias[place] = state.alpha, state.bias
        if not len(kept):
            return Weights(jnp.asarray(alpha), jnp.asarray(bias))
        state, problem = jax.tree.map(functools.partial(_columns, kept), (state, problem))
        place = place[kept]
    worst = int(np.argmax(np.asarray(state.share)))
    raise ValueError(
        f"the {head} head with C = {float(problem[1][worst]):g} does not converge to a gradient of"
        f" {tolerance:g} of its first: it stays at {float(state.share[worst]):.2g}; give a larger "
        "--tolerance"
    )


def _columns(kept: np.ndarray, array: jax.Array) -> jax.Array:
    return array[..., kept]


def _filled_up(kept: np.ndarray, count: int) -> np.ndarray:
    """Places to go on with: half of all `count`, a quarter and so on, or each number of them would
    compile anew; filled up with places that are solved."""
    if not len(kept):
        return kept
    size = count
    while len(kept) <= size // 2:
        size //= 2
    others = np.setdiff1d(np.arange(count), kept)[: size - len(kept)]
    return np.sort(np.concatenate([kept, others]))


def _bend(head: Head, targets: jax.Array) -> float:
    """Second derivative of an image's loss by a logit, at zero weights; of softmax at most."""
    return 1 / targets.shape[1] if head == "softmax" else 2.0


def _losses(head: Head, targets: jax.Array, logits: jax.Array) -> tuple[jax.Array, Any]:
    """Derivatives of the losses by the logits [m, P]; and what their change takes."""
    if head == "softmax":
        counts = targets.sum(axis=1, keepdims=True)
        shares = jax.nn.softmax(logits)
        return counts * shares - targets, (counts, shares)
    signs = 2 * targets - 1
    short = jax.nn.relu(1 - signs * logits)
    return -2 * signs * short, short > 0


def _curvature(head: Head, along: jax.Array, seen: Any) -> jax.Array:
    """Second derivatives of the losses along a change of the logits [m, P]."""
    if head == "softmax":
        counts, shares = seen
        mean = jnp.sum(shares * along, axis=1, keepdims=True)
        return counts * shares * (along - mean) ** 2
    return jnp.where(seen, 2 * along**2, 0)


def _sums(head: Head, array: jax.Array) -> jax.Array:
    """Of each problem [P], or of the one that all columns are [1]."""
    return array.sum().reshape(1) if head == "softmax" else array.sum(axis=0)


def _gradient(
    head: Head, targets: jax.Array, c: jax.Array, weights: Weights, products: jax.Array
) -> Weights:
    """In the metric of W, as shares of the images; that of the bias."""
    slopes = c * _losses(head, targets, products + weights.bias)[0]
    penalty = weights.bias if head == "svm" else 0
    return Weights(weights.alpha + slopes, slopes.sum(axis=0) + penalty)


def _preconditioned(
    head: Head, basis: _Basis, targets: jax.Array, c: jax.Array, gradient: Weights, products: Any
) -> tuple[Weights, jax.Array]:
    """The gradient times the inverse of about the second derivatives at zero weights, but for a
    factor; and its inner products, from those of the gradient."""
    bend = _bend(head, targets) * c
    tail = 1 + bend * basis.weakest
    factors = tail / (1 + bend * basis.strengths[:, None]) - 1
    parts = factors * _matmul(basis.shares.T, products)
    alpha = gradient.alpha + _matmul(basis.shares, parts)
    penalty = 1 if head == "svm" else 0
    bias = gradient.bias * tail / (bend * targets.shape[0] + penalty)
    return Weights(alpha, bias), products + _matmul(basis.products, parts)


def _inner(head: Head, one: Weights, other: Weights, products: jax.Array) -> jax.Array:
    """The inner product of two gradients, or changes of weights, given those of the other."""
    biases = one.bias * other.bias
    return _sums(head, one.alpha * products) + _sums(head, biases[None])


@functools.partial(jax.jit, static_argnums=0)
def _begin(
    head: Head,
    kernel: Kernel,
    basis: _Basis,
    targets: jax.Array,
    c: jax.Array,
    first: jax.Array,
    start: Weights,
) -> _State:
    products = times(kernel, start.alpha)
    gradient = _gradient(head, targets, c, start, products)
    step, step_products = _preconditioned(
        head, basis, targets, c, gradient, times(kernel, gradient.alpha)
    )
    square = _inner(head, gradient, step, step_products)
    return _State(
        *start, products, -step.alpha, -step.bias, -step_products, *gradient, square,
        jnp.sqrt(square / first),
    )  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def _advance(
    head: Head,
    kernel: Kernel,
    basis: _Basis,
    targets: jax.Array,
    c: jax.Array,
    first: jax.Array,
    tolerance: jax.Array,
    state: _State,
) -> _State:
    """At most a round of steps; those of solved problems stand still."""

    def step(carry: tuple[jax.Array, _State]) -> tuple[jax.Array, _State]:
        number, old = carry
        size = jnp.where(old.share > tolerance, _step_size(head, targets, c, old), 0)
        weights = Weights(old.alpha + size * old.direction, old.bias + size * old.bias_direction)
        products = old.products + size * old.direction_products
        gradient = _gradient(head, targets, c, weights, products)
        change, change_products = _preconditioned(
            head, basis, targets, c, gradient, times(kernel, gradient.alpha)
        )
        square = _inner(head, gradient, change, change_products)
        before = _inner(head, Weights(old.gradient, old.bias_gradient), change, change_products)
        keep = jnp.maximum(0, (square - before) / jnp.where(old.square > 0, old.square, jnp.inf))
        return number + 1, _State(
            *weights,
            products,
            keep * old.direction - change.alpha,
            keep * old.bias_direction - change.bias,
            keep * old.direction_products - change_products,
            *gradient,
            square,
            jnp.sqrt(jnp.maximum(square, 0) / first),
        )

    def unfinished(carry: tuple[jax.Array, _State]) -> jax.Array:
        number, now = carry
        return (number < _ROUND) & jnp.any(now.share > tolerance)

    # Sums of what was added would drift.
    state = state._replace(products=times(kernel, state.alpha))
    return lax.while_loop(unfinished, step, (jnp.int32(0), state))[1]


def _step_size(head: Head, targets: jax.Array, c: jax.Array, state: _State) -> jax.Array:
    """How far to go in the direction of each problem: to its least objective, by Newton steps."""
    along = state.direction_products + state.bias_direction
    logits = state.products + state.bias
    linear = _sums(head, state.direction * state.products)
    square = _sums(head, state.direction * state.direction_products)
    if head == "svm":
        linear += state.bias * state.bias_direction
        square += state.bias_direction**2

    def newton(_: int, size: jax.Array) -> jax.Array:
        slopes, seen = _losses(head, targets, logits + size * along)
        slope = linear + size * square + c * _sums(head, slopes * along)
        bend = square + c * _sums(head, _curvature(head, along, seen))
        return size - slope / jnp.maximum(bend, jnp.finfo(bend.dtype).tiny)

    return lax.fori_loop(0, _NEWTON_STEPS, newton, jnp.zeros_like(state.share))


@functools.partial(jax.jit, static_argnums=1)
def _basis(kernel: Kernel, count: int) -> _Basis:
    """By one step of randomised subspace iteration, and Rayleigh and Ritz in the metric of W."""
    images = jax.tree.leaves(kernel)[0].shape[0]
    random = jax.random.normal(jax.random.key(0), (images, count))
    span, _ = jnp.linalg.qr(times(kernel, random))
    products = times(kernel, span)
    values, vectors = jnp.linalg.eigh(_matmul(span.T, products))
    values = jnp.maximum(values, 0)
    kept = values > _WEAKEST * values[-1]
    whiten = vectors * jnp.where(kept, lax.rsqrt(jnp.where(kept, values, 1)), 0)
    whitened = _matmul(products, whiten)
    strengths, turn = jnp.linalg.eigh(_matmul(whitened.T, whitened))
    weakest = jnp.min(jnp.where(kept, values, jnp.inf))
    shares = _matmul(span, _matmul(whiten, turn))
    return _Basis(shares, _matmul(whitened, turn), strengths, weakest)


def _matmul(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.matmul(one, other, precision="highest")
