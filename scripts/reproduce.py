"""Reproduces the paper for one trained net: all of its figures and tables that the data allow.

python -m scripts.reproduce --workdir=DIR [--only=fig2,table7] [--dry_run]

Everything lies in DIR/report afterwards; open index.html there (of a checkpoint before the newest,
--step=best or N, in DIR/report-stepN). The same command again makes only
what is not there yet or no longer true, and after a stop goes on where it was. Figures and tables
that need more than the run and its data say what: photos of faces (--faces), further runs
(--compare, --sweep), other data sets (--caltech101, --caltech256, --voc). On Caltech's photos nets
are also trained from scratch, by the run's recipe; --scratch_folds=0 leaves them out.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from configs import zfnet
from zfnet_jax.command import shell, step_flag
from zfnet_jax.runs import recipe

if TYPE_CHECKING:
    from zfnet_jax.reproduce.execute import Row

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_ONLY = flags.DEFINE_list("only", [], "Names such as fig2,table7; --dry_run lists all.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Print the plan with estimated times, no more.")
_DRAFT = flags.DEFINE_bool("draft", False, "Fewer images and draws, to see everything soon.")
_IMAGES = flags.DEFINE_multi_string(
    "image", [], "A photo for Figs. 1, 5 and 7, instead of validation images; may be repeated."
)
_LABELS = flags.DEFINE_multi_string(
    "label", [], "Its class; one for each photo, or none: the names of their folders."
)
_FACES = flags.DEFINE_string(
    "faces", "", "Folder of photos with a landmarks.json, for Fig. 8 and Table 1."
)
_COMPARE = flags.DEFINE_list("compare", [], "Folders of runs to set beside this one in Fig. 6.")
_SWEEPS = flags.DEFINE_multi_string(
    "sweep", [], "Folder of a sweep with the nets of Table 2 or 3; may be repeated."
)
_CALTECH101 = flags.DEFINE_string(
    "caltech101", "", "Photos in class folders, or prepared, for Tables 4 and 7 and Fig. 9."
)
_CALTECH256 = flags.DEFINE_string("caltech256", "", "Likewise, for Tables 5 and 7 and Fig. 9.")
_VOC = flags.DEFINE_string("voc", "", "Where TFDS keeps its voc/2012, for Table 6.")
_SCRATCH_FOLDS = flags.DEFINE_integer(
    "scratch_folds",
    None,
    "Folds to train nets on from scratch, for Tables 4 and 5; 0 skips; default 5, a draft 1.",
    lower_bound=0,
)
_PREPARED = flags.DEFINE_string(
    "prepared_dir", "", "Images, if not the run's: prepared, or photos in class folders."
)
_STEP = step_flag.define()
_BATCH = flags.DEFINE_integer(
    "batch_size", None, "Images per step, where as the run evaluates is too much.", lower_bound=1
)


def main() -> None:
    from zfnet_jax import lock, parallel
    from zfnet_jax.reproduce import display, execute, plan
    from zfnet_jax.reproduce.report import write_report
    from zfnet_jax.reproduce.reproduction import DRAFT, Effort, Reproduction, Sources
    from zfnet_jax.training import preemption

    sources = Sources(
        images=tuple(_IMAGES.value),
        labels=tuple(_LABELS.value),
        faces=_FACES.value,
        compare=tuple(_COMPARE.value),
        sweeps=tuple(_SWEEPS.value),
        caltech101=_CALTECH101.value,
        caltech256=_CALTECH256.value,
        voc=_VOC.value,
        prepared_dir=_PREPARED.value,
    )
    if _LABELS.value and not _IMAGES.value:
        raise ValueError("--label is the class of an --image, and none is given")
    effort = DRAFT if _DRAFT.value else Effort()
    if _SCRATCH_FOLDS.value is not None:
        effort = dataclasses.replace(effort, scratch_folds=_SCRATCH_FOLDS.value)
    workdir = Path(_WORKDIR.value)
    reproduction = Reproduction(
        workdir, _STEP.value, sources, effort, recipe.of_run(workdir, zfnet.get_config())
    )
    if _BATCH.value:
        reproduction.run.config.eval_batch_size = _BATCH.value
    steps = plan.make_plan(reproduction)
    wanted = plan.select(steps, _ONLY.value)
    every = execute.make_rows(reproduction, steps)
    rows = [row for row in every if row.step.name in wanted]
    execute.estimate(reproduction, rows)
    if _DRY_RUN.value:
        if parallel.is_writer():
            display.print_plan(rows)
        return
    report, index = reproduction.report, None
    with contextlib.ExitStack() as held:

        def hold() -> None:
            report.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock.locked(report / "reproduce.lock", "a reproduction"))

        parallel.by_writer(hold)
        try:
            with display.OneBar(shown=parallel.is_writer()) as bar:
                execute.execute(reproduction, rows, bar)
        except KeyboardInterrupt:
            raise shell.fail("stopped: the same command goes on", code=130) from None
        except preemption.PreemptedError as told:
            message = f"stopped by {told}: the same command goes on"
            raise shell.fail(message, code=preemption.EXIT_CODE) from None
        finally:
            if parallel.is_writer():
                execute.keep_plan(reproduction, every)
                index = write_report(report)
    if index is not None:
        _tell(rows, index)
    failed = [row for row in rows if row.state == "failed"]
    if failed:
        raise ValueError("; ".join(f"{row.step.name}: {row.reason}" for row in failed))


def _tell(rows: Sequence[Row], index: Path) -> None:
    missing = [row for row in rows if row.state == "missing"]
    if missing:
        names = ", ".join(row.step.name for row in missing)
        print(f"not made: {names}; the report says why of each")
    print(index)


if __name__ == "__main__":
    shell.run(main, several=True, saves=True)
