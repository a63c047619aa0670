"""The plan of the paper: its steps in order, and those that were asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from zfnet_jax.reproduce.reproduction import Reproduction
from zfnet_jax.studies import photos
from zfnet_jax.studies.correspondence import study as correspondence
from zfnet_jax.studies.correspondence.options import Options as CorrespondenceOptions
from zfnet_jax.studies.errors import steps as errors
from zfnet_jax.studies.errors.options import ScoreOptions, TableOptions
from zfnet_jax.studies.evolution import study as evolution
from zfnet_jax.studies.features import study as features
from zfnet_jax.studies.first_layers import study as first_layers
from zfnet_jax.studies.invariance import study as invariance
from zfnet_jax.studies.layers import study as layers
from zfnet_jax.studies.occlusion import study as occlusion
from zfnet_jax.studies.overlap import study as overlap
from zfnet_jax.studies.step import Step
from zfnet_jax.studies.transfer import steps as transfer
from zfnet_jax.studies.transfer.data_sets import SPLIT, data_sets
from zfnet_jax.studies.transfer.trial import trial_of


def make_plan(reproduction: Reproduction) -> list[Step]:
    """All steps, each after those that it needs."""
    sources, effort = reproduction.sources, reproduction.effort
    evaluation = errors.evaluate(reproduction, ScoreOptions())
    mining = features.mine(reproduction)
    mining_epochs = features.mine_epochs(reproduction, evolution.kept_steps(reproduction))
    of_errors = TableOptions(crops=effort.crops)
    steps = [
        errors.training(reproduction),
        evaluation,
        photos.step(reproduction, photos.Named(sources.images, sources.labels), evaluation),
        mining,
        mining_epochs,
        layers.fig1(reproduction),
        features.fig2(reproduction),
        features.atlas_step(reproduction),
        layers.fig3(reproduction),
        evolution.fig4(reproduction, mining_epochs),
        invariance.fig5(reproduction, effort.summary),
        first_layers.fig6(reproduction, sources.compare, mining, features.of_validation),
        occlusion.fig7(reproduction, mining, features.of_validation),
        *correspondence.steps(
            reproduction,
            CorrespondenceOptions(
                faces=sources.faces or None,
                draws=effort.draws,
                permutations=effort.permutations,
            ),
        ),
        errors.evaluate_sweeps(sources.sweeps, of_errors),
        errors.table(reproduction, 2, sources.sweeps, of_errors),
        errors.table(reproduction, 3, sources.sweeps, of_errors),
    ]
    steps += _elsewhere(reproduction)
    return reasoned(steps)


def _elsewhere(reproduction: Reproduction) -> list[Step]:
    """What the features are worth on other data (Section 5.2)."""
    sources, effort = reproduction.sources, reproduction.effort
    sets, reasons = data_sets(
        reproduction, {"caltech101": sources.caltech101, "caltech256": sources.caltech256}
    )
    steps = [transfer.prepare(reproduction, data) for data in sets.values()]
    others = {
        name: overlap.Other(data.protocol.title, data.prepared / SPLIT)
        for name, data in sets.items()
    }
    steps.append(overlap.step(reproduction, others, missing="; ".join(reasons.values())))
    trials = {
        name: trial_of(
            reproduction.run,
            data,
            reproduction.recipe,
            folds=effort.folds,
            scratch_folds=effort.scratch_folds,
            curve=effort.curve,
        )
        for name, data in sets.items()
    }
    for trial in trials.values():
        steps.append(transfer.transfer(reproduction, trial))
        if trial.nets is not None:
            steps.append(transfer.from_scratch(reproduction, trial, trial.nets))
    return [
        *steps,
        transfer.table(reproduction, 4, trials, reasons),
        transfer.table(reproduction, 5, trials, reasons),
        transfer.fig9(reproduction, trials, reasons),
        transfer.try_voc(reproduction, sources.voc),
        transfer.table6(reproduction),
        transfer.table(reproduction, 7, trials, reasons),
    ]


def reasoned(steps: Sequence[Step]) -> list[Step]:
    """The steps, each that needs one that cannot be made missing for the same reason."""
    found: dict[str, Step] = {}
    for step in steps:
        reasons = dict.fromkeys(reason for n in step.needs if (reason := found[n].missing))
        if reasons and not step.missing:
            step = dataclasses.replace(step, missing="; ".join(reasons))
        found[step.name] = step
    return list(found.values())


def select(steps: Sequence[Step], names: Sequence[str]) -> set[str]:
    """Names of these steps and of all that they need; all steps if there is no name.

    ValueError: there is no such step.
    """
    if not names:
        return {step.name for step in steps}
    by_name = {step.name: step for step in steps}
    for name in names:
        if name not in by_name:
            raise ValueError(f"--only={name}: there is no such step, only {', '.join(by_name)}")
    wanted, found = list(names), set[str]()
    while wanted:
        name = wanted.pop()
        found.add(name)
        wanted += by_name[name].needs
    return found
