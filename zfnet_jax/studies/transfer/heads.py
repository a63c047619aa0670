"""Linear heads on coordinates of features: softmax regression and the linear SVM.

Both minimise, for m training images with coordinates x and labels y,

    1/2 |W|^2 + C sum_i loss(x_i W + b, y_i)

as scikit-learn's LogisticRegression and LinearSVC do. Softmax: the cross entropy; the bias b is not
penalised. SVM: one class against the rest, squared hinge; the penalty has 1/2 |b|^2 too, as
LinearSVC's has with its intercept_scaling of 1.

`fit` minimises either with full-batch L-BFGS. The SVM that counts is LinearSVC's own (`fit_svm`),
which takes several times as long; for the many fits of cross-validation `fit` finds the same one.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from zfnet_jax.studies.transfer.options import Head

Array = TypeVar("Array", np.ndarray, jax.Array)

_MAX_ITERATIONS = 5000
_COLUMNS = 128  # coordinates are filled up to a multiple, or each fold would compile anew


class Weights(NamedTuple, Generic[Array]):
    """Of a linear head on R coordinates: `kernel` [R, K] and `bias` [K]."""

    kernel: Array
    bias: Array

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """The most probable class [N] of coordinates [N, R]."""
        return np.asarray(inputs @ self.kernel + self.bias).argmax(axis=1)


def fit(
    head: Head,
    inputs: np.ndarray,
    labels: np.ndarray,
    classes: int,
    c: float,
    *,
    tolerance: float,
    size: int | None = None,
    start: Weights[np.ndarray] | None = None,
) -> Weights[np.ndarray]:
    """The weights of a head, from which the gradient has all but vanished.

    Args:
      head: the loss.
      inputs: [m, R], columns orthogonal or almost so, as those of `Coordinates` are: the search
        goes along them at scales that suit the variance of each.
      labels: [m] in 0 ... K - 1.
      classes: K.
      c: what the losses are multiplied by.
      tolerance: the search ends where the gradient's norm, in those scales, is this share of its
        norm at zero weights.
      size: rows to fill up to, so that folds of different sizes share a program; m if not given.
      start: where to begin; zero weights if not given. The objective is convex: it does not matter.

    Raises:
      ValueError: the search does not end.
    """
    rows, columns = inputs.shape
    padded = -(-columns // _COLUMNS) * _COLUMNS
    filled = np.zeros((size or rows, padded), np.float32)
    filled[:rows, :columns] = inputs
    counts = np.zeros(len(filled), np.float32)
    counts[:rows] = 1
    numbers = np.zeros(len(filled), np.int32)
    numbers[:rows] = labels
    kernel, bias = np.zeros((padded, classes), np.float32), np.zeros(classes, np.float32)
    if start is not None:
        kernel[:columns], bias[:] = start
    found, share = _minimise(head, filled, numbers, counts, c, tolerance, Weights(kernel, bias))
    if not share <= tolerance:
        raise ValueError(
            f"the {head} head with C = {c:g} does not converge to a gradient of {tolerance:g} of "
            f"its first: it stays at {share:.2g}; give a larger --tolerance"
        )
    return Weights(np.asarray(found.kernel, np.float64)[:columns], np.asarray(found.bias))


def fit_svm(inputs: np.ndarray, labels: np.ndarray, c: float) -> Weights[np.ndarray]:
    """The linear SVM of scikit-learn on inputs [m, R] and labels [m], every class present.

    Raises:
      ValueError: it does not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    svm = LinearSVC(C=c, loss="squared_hinge", dual=True, random_state=0, max_iter=100_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            svm.fit(inputs, labels)
        except ConvergenceWarning as error:
            raise ValueError(f"LinearSVC with C = {c:g} does not converge") from error
    kernel, bias = svm.coef_.T, svm.intercept_
    if len(svm.classes_) == 2:  # one machine stands for both
        kernel, bias = np.concatenate([-kernel, kernel], 1), np.concatenate([-bias, bias])
    return Weights(kernel, bias)


def loss_of(head: Head, logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The loss [N] of each image: logits [N, K], labels [N]."""
    if head == "softmax":
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    signs = 2 * jax.nn.one_hot(labels, logits.shape[1]) - 1
    return jnp.sum(jax.nn.relu(1 - signs * logits) ** 2, axis=1)


@functools.partial(jax.jit, static_argnums=0)
def _minimise(
    head: Head,
    inputs: jax.Array,
    labels: jax.Array,
    counts: jax.Array,
    c: float,
    tolerance: float,
    start: Weights[jax.Array],
) -> tuple[Weights[jax.Array], jax.Array]:
    """Minimises the objective divided by C m; the weights, and the share of the gradient left."""
    total, classes = counts.sum(), start.bias.shape[0]
    penalty = 1 / (c * total)
    # Second derivatives at zero weights, that of the softmax at most: the scales of the search.
    bend = 1 / classes if head == "softmax" else 2.0
    variance = counts @ inputs**2 / total
    scale = Weights(
        jax.lax.rsqrt(bend * variance + penalty)[:, None],
        jax.lax.rsqrt(bend + (penalty if head == "svm" else 0)),
    )

    def unscaled(weights: Weights[jax.Array]) -> Weights[jax.Array]:
        return Weights(weights.kernel * scale.kernel, weights.bias * scale.bias)

    def objective(scaled: Weights[jax.Array]) -> jax.Array:
        weights = unscaled(scaled)
        logits = jnp.matmul(inputs, weights.kernel, precision="highest") + weights.bias
        squares = jnp.sum(weights.kernel**2)
        if head == "svm":
            squares += jnp.sum(weights.bias**2)
        return counts @ loss_of(head, logits, labels) / total + penalty / 2 * squares

    solver = optax.lbfgs(memory_size=10)
    value_and_grad = optax.value_and_grad_from_state(objective)
    first = optax.tree.norm(jax.grad(objective)(jax.tree.map(jnp.zeros_like, start)))

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        weights, state, _, iteration = carry
        value, gradient = value_and_grad(weights, state=state)
        updates, state = solver.update(
            gradient, state, weights, value=value, grad=gradient, value_fn=objective
        )
        share = optax.tree.norm(optax.tree.get(state, "grad")) / first
        return optax.apply_updates(weights, updates), state, share, iteration + 1

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        *_, share, iteration = carry
        return (share > tolerance) & (iteration < _MAX_ITERATIONS)

    begin = Weights(start.kernel / scale.kernel, start.bias / scale.bias)
    weights, _, share, _ = jax.lax.while_loop(
        unfinished, step, (begin, solver.init(begin), jnp.float32(jnp.inf), 0)
    )
    return unscaled(weights), share
