"""Figs. 1 and 3: what Fig. 1 shows, measured and saved, and the steps of both."""

from __future__ import annotations

from pathlib import Path

from zfnet_jax.runs.run import Run, load_photo
from zfnet_jax.studies import photos, saved
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.drawing import draw
from zfnet_jax.studies.layers.deconv_layer import Arrays, deconv_layer
from zfnet_jax.studies.layers.diagram import deconvnet_diagram
from zfnet_jax.studies.layers.figure1 import figure1
from zfnet_jax.studies.layers.figure3 import figure3
from zfnet_jax.studies.layers.options import Options
from zfnet_jax.studies.options import arguments, command, identity
from zfnet_jax.studies.saved import Result, Subject
from zfnet_jax.studies.step import Entry, Made, Step

NAME = "layers"


def measured(run: Run, options: Options) -> Result:
    """A layer's stages on a photo, up and down, unless they are saved already.

    Returns:
      the saved result, with the arrays of `deconv_layer.deconv_layer`.

    Raises:
      ValueError: the photo cannot be read, or see `deconv_layer.deconv_layer`.
    """

    def measure() -> Arrays:
        photo = load_photo(options.image, run.config.data.image_size)
        return deconv_layer(run, photo, options.layer, options.maps)

    return saved.measured_once(
        run,
        Subject(NAME, options, (Path(options.image).stem, options.layer)),
        measure,
        command=command(
            "figures",
            "--figure=1",
            f"--workdir={run.directory}",
            f"--step={run.step}",
            *arguments(options),
            f"--out={run.directory / 'report' / 'figures'}",
        ),
    )


def fig1(context: Context) -> Step:
    """Fig. 1, of the first layer with a max pool and the first photo chosen."""
    pooled = context.run.architecture.switched
    layer = pooled[0] if pooled else Options.layer

    def make() -> Made:
        (image, *_), _, _ = photos.chosen(context).first(1)
        result = measured(context.run, Options(image, layer))
        files = draw(context, {"figure1": lambda: figure1(result.arrays)})
        return Made([*files, *result.files], commands=[result.about["command"]])

    return Step(
        "fig1",
        "Fig. 1: a layer and the deconvnet layer attached to it",
        make,
        needs=("photos",),
        options=identity(Options(layer=layer)),
        seconds=6,
        missing=None if pooled else "no layer of this net has a max pool",
        entry=Entry(
            "Figure 1: a layer and its deconvnet",
            "2.1",
            "Follow one map up on the right and down on the left: below, each value from"
            " above returns to the place of the maximum that its switch remembers.",
        ),
    )


def fig3(context: Context) -> Step:
    def make() -> Made:
        net, size = context.run.architecture, context.run.input_size
        drawings = {
            "figure3": lambda: figure3(net, size, channels=3),
            "figure3_deconvnet": lambda: deconvnet_diagram(net, size, channels=3),
        }
        return Made(draw(context, drawings))

    return Step(
        "fig3",
        "Fig. 3: the architecture",
        make,
        commands=(
            context.command("figures", "--figure=3", f"--out={context.figures}", step=False),
        ),
        seconds=2,
        entry=Entry(
            "Figure 3: the architecture",
            "3",
            "Sizes of maps shrink from left to right while their number grows, but for the"
            " last conv layer.",
            "224 x 224 pixels, five conv layers of 96, 256, 384, 384 and 256 maps, two dense"
            " layers of 4096 units.",
        ),
    )
