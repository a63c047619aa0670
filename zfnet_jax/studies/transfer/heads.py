"""Linear heads on inner products of features: softmax regression and the linear SVM.

Both minimise, for m training images with features x and labels y,

    1/2 |W|^2 + C sum_i loss(x_i W + b, y_i)

as scikit-learn's LogisticRegression and LinearSVC do. Softmax: the cross entropy; the bias b is not
penalised. SVM: one class against the rest, squared hinge; the penalty has 1/2 |b|^2 too, as
LinearSVC's has with its intercept_scaling of 1.

The best W is a sum of the training images, so the features are seen through their inner products
alone, and the shares of the images are searched; where there are fewer features than images, W
itself is. The search is by conjugate gradients in the metric of W (Polak and Ribiere, nonlinear),
with an exact step along each direction, preconditioned by the strongest directions of the features.
A step takes one product with the inner products, or two with the features, on the device, for all
that is searched at once: the classes of an SVM, and its values of C, are problems of their own;
those that are solved drop out.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg  # noqa: F401  its LAPACK, which jax calls on a CPU, must be there to be held back
from jax import lax
from threadpoolctl import threadpool_limits

from zfnet_jax.studies.transfer.gram import Kernel, Products
from zfnet_jax.studies.transfer.options import Head

_MAX_STEPS = 2000
_ROUND = 4  # steps between looks at which problems are solved
_REFRESH = 16  # and after which products are made anew: sums of what was added would drift
_FEWEST = 32  # columns that are searched: for fewer, reading the matrix is what takes the time
_NEWTON_STEPS = 5  # along a direction
BASIS = 512  # directions that precondition, at most
# Weaker ones, as a share of the strongest, are below what preconditions well in float32.
_WEAKEST = 1e-3


class Weights(NamedTuple):
    """Of a linear head, on m training images of D features.

    Attributes:
      coefficients: [m, K], shares of the images in W, where the kernel has their inner products;
        [D, K], W itself, where it has their features.
      bias: [K].
    """

    coefficients: jax.Array
    bias: jax.Array


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """[m, K] float32 `targets` of `fit`, of labels [m]."""
    return np.eye(classes, dtype=np.float32)[labels]


def logits(products: Products, weights: Weights) -> np.ndarray:
    """[S, K] float32 of the test images."""
    return np.asarray(_matmul(products.test, weights.coefficients) + weights.bias)


class Basis(NamedTuple):
    """The strongest directions of m images, orthonormal in the metric of W.

    Attributes:
      directions: [m, k] or [D, k], like `Weights.coefficients`; 0 where there are fewer.
      products: [m, k], what the images have of them.
      strengths: [k], eigenvalues of the inner products.
      weakest: the least of those.
    """

    directions: jax.Array
    products: jax.Array
    strengths: jax.Array
    weakest: jax.Array


class _State(NamedTuple):
    """Of the search, P columns; numbers of a problem are [P], or [1] if all columns are one.

    `products` [m, P] are logits but for the bias, `direction_products` change along `direction`.
    """

    coefficients: jax.Array
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
    told: Callable[[float], None] | None = None,
) -> list[Weights]:
    """The weights of heads with several C, from which the gradient has all but vanished.

    Args:
      head: the loss.
      kernel: of m training images.
      targets: [m, K], how often an image is an example of a class; of an SVM once, of one class.
      cs: values of C, ascending.
      tolerance: the search ends where the norm of a problem's preconditioned gradient is this share
        of its norm at zero weights.
      told: of steps that were made; one counts as the share of the columns that were searched.

    Returns:
      the weights with each C.

    Raises:
      ValueError: the search does not end.
    """
    classes = targets.shape[1]
    size = _matrix(kernel).shape[1]
    basis = strongest(kernel)
    examples = jnp.asarray(targets, jnp.float32)
    empty = Weights(jnp.zeros((size, classes)), jnp.zeros(classes))
    if head == "softmax":
        found = []
        for c in cs:
            start = found[-1] if found else empty
            found.append(_search(head, kernel, basis, examples, [c], tolerance, start, told))
        return found
    count = len(cs)
    start = Weights(jnp.tile(empty.coefficients, (1, count)), jnp.tile(empty.bias, count))
    examples = jnp.tile(examples, (1, count))
    weights = _search(head, kernel, basis, examples, cs, tolerance, start, told)
    parts = jnp.split(weights.coefficients, count, 1), jnp.split(weights.bias, count)
    return [Weights(*pair) for pair in zip(*parts)]


def strongest(kernel: Kernel) -> Basis:
    """The directions that precondition every search on a kernel."""
    # LAPACK's threads wait for each other busily: on 2 cores beside another training two of them
    # took up to 12 s for what one does in 0.1 s.
    with threadpool_limits(1, "blas"):
        return jax.block_until_ready(_basis(kernel, min(BASIS, _matrix(kernel).shape[1])))


def _search(
    head: Head,
    kernel: Kernel,
    basis: Basis,
    targets: jax.Array,
    cs: Sequence[float],
    tolerance: float,
    start: Weights,
    told: Callable[[float], None] | None,
) -> Weights:
    """The weights [m, P] of problems that are solved at once; those of each C lie together."""
    columns = start.bias.shape[0]
    c = jnp.repeat(jnp.asarray(cs, jnp.float32), 1 if head == "softmax" else columns // len(cs))
    coefficients, bias = np.array(start.coefficients), np.array(start.bias)
    zero = jax.tree.map(jnp.zeros_like, start)
    first = _begin(head, kernel, basis, targets, c, jnp.ones_like(c), zero).square
    state = _begin(head, kernel, basis, targets, c, first, start)
    problem = (targets, c, first)
    place = np.arange(columns)  # of the columns that are searched
    for steps in range(0, _MAX_STEPS, _ROUND):
        fresh = jnp.bool_(steps % _REFRESH == 0)
        state = _advance(head, kernel, basis, *problem, jnp.float32(tolerance), fresh, state)
        if told:
            told(_ROUND * len(place) / columns)
        unsolved = ~(np.asarray(state.share) <= tolerance)  # those that are no numbers, too
        if head == "softmax":
            unsolved = np.repeat(unsolved, columns)
        kept = _filled_up(np.flatnonzero(unsolved), len(place))
        if len(kept) == len(place):
            continue
        coefficients[:, place], bias[place] = state.coefficients, state.bias
        if not len(kept):
            return Weights(jnp.asarray(coefficients), jnp.asarray(bias))
        state, problem = jax.tree.map(functools.partial(_columns, kept), (state, problem))
        place = place[kept]
    worst = int(np.argmax(np.asarray(state.share)))
    raise ValueError(
        f"the {head} head with C = {float(problem[1][worst]):g} does not converge to a gradient of"
        f" {tolerance:g} of its first: it stays at {float(state.share[worst]):.2g}; give a larger "
        "--tolerance"
    )


def step_seconds(head: Head, kernel: Kernel, targets: np.ndarray) -> float:
    """That a step of a search of all columns takes, once it is compiled."""
    basis, examples = strongest(kernel), jnp.asarray(targets, jnp.float32)
    size, columns = _matrix(kernel).shape[1], targets.shape[1]
    c = jnp.ones(1 if head == "softmax" else columns)
    start = Weights(jnp.zeros((size, columns)), jnp.zeros(columns))
    state = _begin(head, kernel, basis, examples, c, c, start)
    never, fresh = jnp.float32(0), jnp.bool_(False)
    seconds = 0.0
    for _ in range(2):  # the first compiles
        began = time.monotonic()
        state = _advance(head, kernel, basis, examples, c, c, never, fresh, state)
        jax.block_until_ready(state)
        seconds = time.monotonic() - began
    return seconds / _ROUND


def _columns(kept: np.ndarray, array: jax.Array) -> jax.Array:
    return array[..., kept]


def _filled_up(kept: np.ndarray, count: int) -> np.ndarray:
    """Places to go on with: half of all `count`, a quarter and so on, or each number of them would
    compile anew; filled up with places that are solved."""
    if not len(kept):
        return kept
    size = count
    while max(len(kept), _FEWEST) <= size // 2:
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


def _matrix(kernel: Kernel) -> jax.Array:
    matrix = kernel.rows if kernel.matrix is None else kernel.matrix
    assert matrix is not None
    return matrix


def _gradient(
    head: Head,
    kernel: Kernel,
    targets: jax.Array,
    c: jax.Array,
    weights: Weights,
    products: jax.Array,
) -> Weights:
    """In the metric of W; and that of the bias."""
    slopes = c * _losses(head, targets, products + weights.bias)[0]
    penalty = weights.bias if head == "svm" else 0
    change = slopes if kernel.rows is None else _matmul(kernel.rows.T, slopes)
    return Weights(weights.coefficients + change, slopes.sum(axis=0) + penalty)


def _preconditioned(
    head: Head,
    kernel: Kernel,
    basis: Basis,
    targets: jax.Array,
    c: jax.Array,
    gradient: Weights,
) -> tuple[Weights, jax.Array]:
    """The gradient times the inverse of about the second derivatives at zero weights, but for a
    factor; and its products."""
    products = _matmul(_matrix(kernel), gradient.coefficients)
    bend = _bend(head, targets) * c
    tail = 1 + bend * basis.weakest
    factors = tail / (1 + bend * basis.strengths[:, None]) - 1
    dual = products if kernel.rows is None else gradient.coefficients
    parts = factors * _matmul(basis.directions.T, dual)
    change = gradient.coefficients + _matmul(basis.directions, parts)
    penalty = 1 if head == "svm" else 0
    bias = gradient.bias * tail / (bend * targets.shape[0] + penalty)
    return Weights(change, bias), products + _matmul(basis.products, parts)


def _inner(
    head: Head, kernel: Kernel, one: jax.Array, other: jax.Array, products: jax.Array
) -> jax.Array:
    """The inner product in the metric of W; `products` are those of the other."""
    return _sums(head, one * (products if kernel.rows is None else other))


def _with_bias(
    head: Head, kernel: Kernel, one: Weights, other: Weights, products: jax.Array
) -> jax.Array:
    """The derivative along a change of the weights, the other, of which the gradient is one."""
    own = _inner(head, kernel, one.coefficients, other.coefficients, products)
    return own + _sums(head, (one.bias * other.bias)[None])


@functools.partial(jax.jit, static_argnums=0)
def _begin(
    head: Head,
    kernel: Kernel,
    basis: Basis,
    targets: jax.Array,
    c: jax.Array,
    first: jax.Array,
    start: Weights,
) -> _State:
    products = _matmul(_matrix(kernel), start.coefficients)
    gradient = _gradient(head, kernel, targets, c, start, products)
    step, step_products = _preconditioned(head, kernel, basis, targets, c, gradient)
    square = _with_bias(head, kernel, gradient, step, step_products)
    return _State(
        *start,
        products,
        -step.coefficients,
        -step.bias,
        -step_products,
        *gradient,
        square,
        jnp.sqrt(jnp.abs(square) / first),
    )


@functools.partial(jax.jit, static_argnums=0, donate_argnames="state")
def _advance(
    head: Head,
    kernel: Kernel,
    basis: Basis,
    targets: jax.Array,
    c: jax.Array,
    first: jax.Array,
    tolerance: jax.Array,
    fresh: jax.Array,
    state: _State,
) -> _State:
    """At most a round of steps; those of solved problems stand still.

    Args:
      fresh: whether products are made anew before.
    """

    def step(carry: tuple[jax.Array, _State]) -> tuple[jax.Array, _State]:
        number, old = carry
        size = jnp.where(old.share > tolerance, _step_size(head, kernel, targets, c, old), 0)
        weights = Weights(
            old.coefficients + size * old.direction, old.bias + size * old.bias_direction
        )
        products = old.products + size * old.direction_products
        gradient = _gradient(head, kernel, targets, c, weights, products)
        change, its_products = _preconditioned(head, kernel, basis, targets, c, gradient)
        square = _with_bias(head, kernel, gradient, change, its_products)
        before = Weights(old.gradient, old.bias_gradient)
        grown = square - _with_bias(head, kernel, before, change, its_products)
        keep = jnp.where(old.square > 0, jnp.maximum(0, grown / old.square), 0)
        return number + 1, _State(
            *weights,
            products,
            keep * old.direction - change.coefficients,
            keep * old.bias_direction - change.bias,
            keep * old.direction_products - its_products,
            *gradient,
            square,
            jnp.sqrt(jnp.abs(square) / first),
        )

    def unfinished(carry: tuple[jax.Array, _State]) -> jax.Array:
        number, now = carry
        return (number < _ROUND) & jnp.any(now.share > tolerance)

    products = lax.cond(
        fresh,
        lambda: _matmul(_matrix(kernel), state.coefficients),
        lambda: state.products,
    )
    state = state._replace(products=products)
    return lax.while_loop(unfinished, step, (jnp.int32(0), state))[1]


def _step_size(
    head: Head, kernel: Kernel, targets: jax.Array, c: jax.Array, state: _State
) -> jax.Array:
    """How far to go in the direction of each problem: to its least objective, by Newton steps."""
    along = state.direction_products + state.bias_direction
    logits = state.products + state.bias
    linear = _inner(head, kernel, state.direction, state.coefficients, state.products)
    square = _inner(head, kernel, state.direction, state.direction, state.direction_products)
    if head == "svm":
        linear += state.bias * state.bias_direction
        square += state.bias_direction**2

    def newton(_: int, size: jax.Array) -> jax.Array:
        slopes, seen = _losses(head, targets, logits + size * along)
        slope = linear + size * square + c * _sums(head, slopes * along)
        bend = square + c * _sums(head, _curvature(head, along, seen))
        return jnp.where(bend > 0, size - slope / bend, 0)  # where rounding is all that is left

    return lax.fori_loop(0, _NEWTON_STEPS, newton, jnp.zeros_like(state.share))


@functools.partial(jax.jit, static_argnums=1)
def _basis(kernel: Kernel, count: int) -> Basis:
    """By one step of randomised subspace iteration, and Rayleigh and Ritz in the metric of W."""
    matrix = _matrix(kernel)
    random = jax.random.normal(jax.random.key(0), (matrix.shape[1], count))
    seen = _matmul(matrix, random)
    span, _ = jnp.linalg.qr(seen if kernel.rows is None else _matmul(matrix.T, seen))
    products = _matmul(matrix, span)
    if kernel.rows is None:
        values, vectors = jnp.linalg.eigh(_matmul(span.T, products))
        kept = values > _WEAKEST * values[-1]
        whiten = vectors * jnp.where(kept, lax.rsqrt(jnp.where(kept, values, 1)), 0)
        span, products = _matmul(span, whiten), _matmul(products, whiten)
    strengths, turn = jnp.linalg.eigh(_matmul(products.T, products))
    kept = strengths > _WEAKEST * strengths[-1]
    turn = jnp.where(kept, turn, 0)
    weakest = jnp.min(jnp.where(kept, strengths, jnp.inf))
    return Basis(_matmul(span, turn), _matmul(products, turn), jnp.maximum(strengths, 0), weakest)


def _matmul(one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.matmul(one, other, precision="highest")
