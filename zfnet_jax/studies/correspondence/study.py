"""Correspondence measured and saved, and the steps of Fig. 8 and Table 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zfnet_jax.data import landmarks
from zfnet_jax.data.landmarks import PartPhotos
from zfnet_jax.runs.run import Run
from zfnet_jax.studies import saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.correspondence.figure import figure8
from zfnet_jax.studies.correspondence.measure import measure
from zfnet_jax.studies.correspondence.options import Masking, Options
from zfnet_jax.studies.correspondence.table import table1
from zfnet_jax.studies.drawing import draw, write_tables
from zfnet_jax.studies.options import arguments, identity
from zfnet_jax.studies.saved import Arrays, Result, Subject
from zfnet_jax.studies.step import Entry, Made, Step
from zfnet_jax.windows import by

NAME = "correspondence"
_FACE = "face"  # of the built-in pictures: they stand in for photos where the net knows them
_BATCH = 32  # images


def resolved(run: Run, options: Options) -> Masking:
    """What is masked and compared, with the layers given; the images tell themselves."""
    given = {one.name: getattr(options, one.name) for one in dataclasses.fields(Masking)}
    net = run.architecture
    last = dict.fromkeys((net.convs[-1].name, (*net.map_layers, *net.dense_names)[-1]))
    named = tuple(run.layer(name, net.activations) for name in options.layers)
    return Masking(**given | {"layers": named or tuple(last)})


def read_images(run: Run, options: Options) -> PartPhotos:
    """The photos or pictures that the options name.

    Raises:
      FileNotFoundError, ValueError: see `landmarks.read_photos` and `landmarks.draw_pictures`;
        there are both photos and pictures or neither; what the net sees is not square.
    """
    if run.input_size[0] != run.input_size[1]:
        raise ValueError(
            f"{run.directory.resolve().name} sees {by(run.input_size)} pixels: faces are cut as"
            " squares"
        )
    parts, size = options.parts.split(","), run.input_size[0]
    if options.faces is not None and options.pictures is None:
        return landmarks.read_photos(options.faces, parts, size)
    if options.pictures is not None and options.faces is None:
        return landmarks.draw_pictures(options.pictures, parts, options.count, size)
    raise ValueError("give either --faces=FOLDER or --pictures=CLASS")


def measured(
    run: Run, options: Options, images: PartPhotos, *, batch_size: int = _BATCH, progress: bool
) -> Result:
    """Masks parts and random places, unless the result is saved already.

    Args:
      run: the net.
      options: see there.
      images: see `read_images`.
      batch_size, progress: see `measure.measure`.

    Returns:
      the saved result; its arrays are those of `measure.measure`.

    Raises:
      ValueError: see `measure.measure`.
    """
    asked = resolved(run, options)

    def make() -> Arrays:
        return measure(
            run,
            images,
            asked.layers,
            mask=asked.mask,
            draws=asked.draws,
            permutations=asked.permutations,
            seed=asked.seed,
            batch_size=batch_size,
            progress=progress,
        )

    name = Path(options.faces).resolve().name if options.faces else f"pictures-{options.pictures}"
    return saved.measured_once(
        run,
        Subject(NAME, asked, (name, *asked.layers), _data(images), version=2),
        make,
        command=saved.command_of(run, NAME, options),
        about={
            "images": len(images),
            "faces": options.faces,
            "pictures": options.pictures,
            "outputs": run.architecture.outputs,
        },
    )


def outputs_of(result: Result) -> dict[int, str]:
    """`Architecture.outputs` of the net that a result is of."""
    return {int(number): name for number, name in result.about["outputs"].items()}


def steps(context: Context, options: Options) -> list[Step]:
    """What is masked, and Fig. 8 and Table 1 of it.

    Args:
      options: pictures of faces stand in for photos where neither is named and the net knows them.
    """
    run, images, missing = context.run, None, None
    if not options.faces and run.config.data.source == "pictures" and _FACE in run.class_names:
        options = dataclasses.replace(options, pictures=_FACE)
    if options.faces or options.pictures:
        try:
            images = read_images(run, options)
        except (ValueError, OSError) as error:
            missing = str(error)
    else:
        missing = "it needs photos of faces with their landmarks: --faces=FOLDER"

    def result() -> Result:
        assert images is not None  # or the steps are missing
        batch = min(_BATCH, run.config.eval_batch_size)
        return measured(run, options, images, batch_size=batch, progress=False)

    asked = resolved(run, options)
    masked = Step(
        name="masked",
        title="Covering eyes, noses and random places",
        make=lambda: Made(result().files),
        options=identity(asked) | {"data": images and _data(images)},
        commands=(context.command(NAME, *arguments(options)),),
        images=len(images or ()) * (len(asked.parts.split(",")) + 2 * asked.draws),
        seconds=10,
        missing=missing,
    )
    notes = []
    if options.pictures:
        notes.append(
            "Drawn faces stand in for the paper's photos of dogs: the numbers do not compare."
        )
    return [masked, _fig8(context, result, notes), _table1(context, result, notes)]


def _fig8(context: Context, result: Callable[[], Result], notes: Sequence[str]) -> Step:
    def make() -> Made:
        found = result()
        files = draw(context, {"figure8": lambda: figure8(found.arrays)})
        return Made(files, notes, commands=[found.drawn_by("8", context.figures)])

    return Step(
        name="fig8",
        title="Fig. 8: faces with parts covered",
        make=make,
        entry=Entry(
            "Figure 8: covered parts",
            "4.3",
            "The same part is covered in every image, or a place at random.",
        ),
        needs=("masked",),
        seconds=3,
    )


def _table1(context: Context, result: Callable[[], Result], notes: Sequence[str]) -> Step:
    def make() -> Made:
        found = result()
        files = write_tables(context, "table1", table1(found.arrays, outputs_of(found)))
        return Made(files, notes, commands=[found.about["command"]])

    return Step(
        name="table1",
        title="Table 1: whether parts correspond",
        make=make,
        entry=Entry(
            "Table 1: correspondence",
            "4.3",
            "Lower is more alike: parts should lie below random places, more clearly in layer"
            " 5 than in layer 7.",
            "Layer 5: 0.067 to 0.079 for parts, 0.107 for random places; layer 7: 0.068 to"
            " 0.069 and 0.073.",
        ),
        needs=("masked",),
    )


def _data(images: PartPhotos) -> dict[str, Any]:
    return {"fingerprint": images.fingerprint, "keys": list(images.keys)}
