"""Fig. 6: first layers of several runs, and what can be said of them in numbers, saved by run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax.files import write_arrays, write_json
from zfnet_jax.runs import origins
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.context import Context, other_run
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.features.winners import Winners
from zfnet_jax.studies.first_layers.diagnosis import diagnose
from zfnet_jax.studies.first_layers.figure import figure6
from zfnet_jax.studies.first_layers.filters import first_layer
from zfnet_jax.studies.first_layers.options import FigureOptions, Options, TableOptions
from zfnet_jax.studies.first_layers.table import diagnosis_table
from zfnet_jax.studies.options import arguments, command, identity
from zfnet_jax.studies.saved import Result, Subject
from zfnet_jax.studies.step import Entry, Made, Step

NAME = "first_layers"
NUMBERS = "numbers.json"  # in the result's folder


def measured(run: Run, mined: Winners | None) -> Result:
    """The first layer of a run and its diagnosis, unless they are saved already.

    Args:
      run: the net.
      mined: what mining left of this checkpoint, or None.

    Returns:
      the saved result: the arrays of `filters.first_layer`, and the numbers of
      `diagnosis.diagnose` in a file of their own, see `numbers`.
    """
    options = Options(mined.options["split"] if mined else None)
    name = run.directory.resolve().name

    def make(folder: Path | None) -> None:
        if folder is not None:
            write_arrays(folder / "arrays.npz", first_layer(run))
            write_json(folder / NUMBERS, diagnose(run, mined))

    return saved.made_once(
        run,
        Subject(
            NAME,
            options,
            (str(run.step), options.split or "not mined"),
            {"run": name, "mined": mined.folder.name if mined else None},
            version=3,
        ),
        make,
        command=saved.command_of(run, "diagnose", options),
    )


def drawn(result: Result) -> saved.Arrays:
    """The arrays for Fig. 6: with 'origin', what the first layer is called where the net comes
    from, '' if there is no such name."""
    known = origins.given(saved.run_of(result.folder))
    return result.arrays | {"origin": np.array(known.get("conv1", ""))}


def numbers(result: Result) -> dict[str, Any]:
    """What `diagnosis.diagnose` found."""
    return json.loads((result.folder / NUMBERS).read_text(encoding="utf-8"))


def fig6(
    context: Context, others: Sequence[str], mining: Step, mined: Callable[[Context], Winners]
) -> Step:
    """Fig. 6 and its numbers, of this run and others.

    Args:
      others: folders of the others.
      mining: of this run's validation images.
      mined: what that step has left; of the others mined now if it was not.
    """
    options, level, missing = FigureOptions(), TableOptions().level, None
    identities: list[dict[str, Any]] = []
    try:
        identities = [other_run(workdir) for workdir in others]
    except OSError as error:
        missing = f"--compare: {error}"

    def make() -> Made:
        contexts = [context, *(Context(Path(workdir)) for workdir in others)]
        found = [None if one.lacks("validation") else mined(one) for one in contexts]
        results = [measured(one.run, winners) for one, winners in zip(contexts, found, strict=True)]
        filters = [*map(drawn, results)]
        files = draw(context, {"figure6": lambda: figure6(filters, found, options.maps)})
        files += write_tables(
            context, "figure6", [diagnosis_table([*map(numbers, results)], level)]
        )
        files += [*results[0].files, results[0].folder / NUMBERS]
        notes = [] if others else ["Only this run: --compare=DIR,DIR sets others beside it."]
        return Made(files, notes, commands=commands(results))

    def commands(results: Sequence[Result]) -> list[str]:
        mine = [command("mine", f"--workdir={workdir}") for workdir in others]
        runs = ",".join(map(str, (context.workdir, *others)))
        figure = ("--figure=6", "--split=validation", f"--runs={runs}", *arguments(options))
        # The figure takes one --step for all runs; the newest of each are told by none.
        step = [] if others else [f"--step={context.run.step}"]
        draw_it = command("figures", *figure, *step, f"--out={context.figures}")
        return [*mine, draw_it, *(result.about["command"] for result in results)]

    return Step(
        name="fig6",
        title="Fig. 6: first layers side by side",
        make=make,
        needs=() if mining.missing else (mining.name,),
        options={"others": identities, **identity(options)},
        images=mining.images * len(others),
        seconds=4 + 8 * len(others),
        missing=missing,
        entry=Entry(
            "Figure 6: first layers",
            "4.1",
            "One filter much stronger than the rest, filters of noise or of none but low"
            " frequencies, dead maps and checkered patterns in layer 2 are what the paper"
            " mended.",
            "11 x 11 filters with stride 4 miss mid frequencies and alias; 7 x 7 with stride"
            " 2 do so less.",
        ),
    )
