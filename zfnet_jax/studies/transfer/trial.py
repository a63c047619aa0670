"""What a reproduction tries on a data set, and what it saved of that, whatever else lies there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ml_collections import ConfigDict

from zfnet_jax.runs.run import Run
from zfnet_jax.studies.transfer import features, scratch, study
from zfnet_jax.studies.transfer.data_sets import STAND_IN, DataSet
from zfnet_jax.studies.transfer.options import Options, ScratchOptions
from zfnet_jax.studies.transfer.protocols import TABLE7_SOFTMAX
from zfnet_jax.studies.transfer.scores import Scores

_SOFTMAX_GRID, _SVM_GRID = (10.0, 1e3), (0.1, 1.0)  # of the stand-in


@dataclasses.dataclass(frozen=True)
class Trial:
    """What is tried on a data set.

    Attributes:
      heads: on features of the layers, for Tables 4, 5 and 7 and Fig. 9.
      recipe: config that nets are trained with on the folds alone.
      nets: those nets, for Tables 4 and 5 and Fig. 9; None if there are none, as of nets whose last
        maps are class scores, or that have none: of other classes they would be other nets.
    """

    data: DataSet
    heads: tuple[Options, ...]
    recipe: ConfigDict
    nets: ScratchOptions | None

    def results(self, run: Run) -> Scores:
        """What the steps of this trial have saved, and nothing else.

        Raises:
          FileNotFoundError: some of it was not measured.
          ValueError: see `DataSet.open`.
        """
        split, classes = self.data.open()
        nets = []
        if self.nets is not None:
            nets = scratch.load(run, self.recipe, split, classes, self.nets)
        pretrained = study.load(run, split, classes, self.heads)
        return Scores(self.data.name, tuple(pretrained), tuple(nets))


def trial_of(
    run: Run, data: DataSet, recipe: ConfigDict, *, folds: int, scratch_folds: int, curve: bool
) -> Trial:
    """What a data set's protocol asks for.

    Args:
      folds, scratch_folds: of each head, and of nets trained from scratch (0: none).
      curve: whether Fig. 9 has more points than the tables.
    """
    protocol = data.protocol
    there = run.architecture.outputs
    layers, _ = features.of_table7(run)
    counts = tuple(sorted({*protocol.table, *(protocol.curve if curve else ())}))
    common = Options(data=data.name, folds=folds)
    if data.name == STAND_IN:
        common = dataclasses.replace(common, softmax_grid=_SOFTMAX_GRID, svm_grid=_SVM_GRID)

    top = dataclasses.replace(
        common, layers=(there[max(there)],), heads=("softmax",), per_class=counts
    )
    by_depth = dataclasses.replace(common, per_class=(protocol.layers,))
    heads = (top, *heads_of_table7(run, layers, by_depth))
    nets = None
    if scratch_folds and run.architecture.classifier == "dense":
        nets = ScratchOptions(data=data.name, per_class=protocol.table, folds=scratch_folds)
    return Trial(data, heads, recipe, nets)


def heads_of_table7(run: Run, layers: Sequence[str], options: Options) -> tuple[Options, ...]:
    """Some options with the heads that the paper's table has on some layers: a linear SVM on each,
    softmax on those of TABLE7_SOFTMAX."""
    there = run.architecture.outputs
    of_softmax = tuple(there[n] for n in TABLE7_SOFTMAX if there.get(n) in layers)
    svm = dataclasses.replace(options, layers=tuple(layers), heads=("svm",))
    softmax = dataclasses.replace(options, layers=of_softmax, heads=("softmax",))
    return (svm, softmax) if of_softmax else (svm,)
