"""Evaluation against a plain loop over the images, for any batch size."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.runs.checkpoint import open_checkpoints
from zfnet_jax.runs.run import open_run
from zfnet_jax.training.evaluation import make_evaluator
from zfnet_jax.training.metrics import read_metrics
from zfnet_jax.training.step import topk_hits


@pytest.mark.parametrize("batch_size", [16, 30, 7])
def test_every_image_counts_once(shallow_run, prepared_pictures, shallow_config, batch_size):
    run = open_run(shallow_run)
    split = open_prepared(prepared_pictures, "validation")
    shallow_config.eval_batch_size = batch_size
    result = make_evaluator(run.net, shallow_config, split)(run.params, run.mean)

    losses, hits1, hits5 = [], [], []
    for image, label in zip(split.images, split.labels, strict=True):
        logits = np.asarray(run.forward(run.inputs(image[None]))[0][0], np.float64)
        log_z = logits.max() + np.log(np.exp(logits - logits.max()).sum())
        losses.append(log_z - logits[label])
        ranked = np.argsort(-logits)
        hits1.append(ranked[0] == label)
        hits5.append(label in ranked[:5])
    assert result["images"] == 30
    assert result["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert result["top1"] == np.mean(hits1)
    assert result["top5"] == np.mean(hits5)


def test_the_metrics_of_the_run_are_those_of_its_checkpoint(
    shallow_run, prepared_pictures, shallow_config
):
    run = open_run(shallow_run)
    split = open_prepared(prepared_pictures, "validation")
    result = make_evaluator(run.net, shallow_config, split)(run.params, run.mean)
    last = read_metrics(shallow_run)[-1]
    assert last["step"] == run.step == 12
    assert last["val/top1"] == result["top1"]
    assert last["val/loss"] == pytest.approx(result["loss"], rel=1e-4)
    with open_checkpoints(shallow_run / "checkpoints") as checkpoints:
        best = min(
            r["step"] for r in read_metrics(shallow_run) if r["val/top1"] == last["val/top1"]
        )
        assert checkpoints.best_step() >= best


def test_ties_count_against_the_net():
    logits = jnp.array([[0.0] * 6, [9, 1, 2, 3, 4, 5], [9, 1, 2, 3, 4, 5], [jnp.nan] * 6])
    top1, top5 = topk_hits(logits, jnp.array([0, 0, 1, 0]))
    assert top1.tolist() == [False, True, False, False]
    assert top5.tolist() == [False, True, False, False]
