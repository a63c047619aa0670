"""Figs. 1 and 3: what Fig. 1 shows, measured and saved, and the steps of both."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from zfnet_jax.names import fit
from zfnet_jax.runs.run import Run, load_photo
from zfnet_jax.studies import photos, saved
from zfnet_jax.studies.context import Context, report_of
from zfnet_jax.studies.drawing import draw
from zfnet_jax.studies.layers import strongest
from zfnet_jax.studies.layers.deconv_layer import Arrays, deconv_layer
from zfnet_jax.studies.layers.diagram import deconvnet_diagram
from zfnet_jax.studies.layers.figure1 import figure1
from zfnet_jax.studies.layers.figure3 import figure3
from zfnet_jax.studies.layers.options import Options, StrongestOptions
from zfnet_jax.studies.layers.strongest_figure import figure_strongest
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
    layer = run.layer(options.layer, run.architecture.map_layers)
    options = dataclasses.replace(options, layer=layer)

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
            f"--out={report_of(run.directory, run.step) / 'figures'}",
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


def strongest_step(context: Context, count: int) -> Step:
    """What every layer sees in the first photos chosen."""
    options = StrongestOptions()

    def make() -> Made:
        images, _, keys = photos.chosen(context).first(count)
        drawings: dict[str, Callable[[], Figure]] = {}
        commands, maps = [], dict[str, set[int]]()
        for number, image in enumerate(images, start=1):
            photo = load_photo(image, context.run.config.data.image_size)
            arrays = strongest.strongest_maps(context.run, photo, options.maps)
            for layer in arrays["layers"].tolist():
                maps.setdefault(layer, set()).update(arrays[f"{layer}/map"].tolist())
            arrays |= {"class_names": np.array(context.run.class_titles)}
            name = f"layers{number}"
            drawings[name] = functools.partial(figure_strongest, arrays, context.run.origins)
            asked = arguments(dataclasses.replace(options, image=image))
            out = f"--out={context.figures / name}.png"
            commands.append(context.command("visualize", *asked, out))
        names = ", ".join(f"{number}: {fit(key)}" for number, key in enumerate(keys, start=1))
        return Made(draw(context, drawings), [f"Photos {names}."], maps, commands)

    return Step(
        "layers",
        "Drawing what every layer sees in a photo",
        make,
        needs=("photos",),
        options=identity(options) | context.titles,
        images=count * len(context.run.architecture.convs) * options.maps,
        seconds=5 * count,
        entry=Entry(
            "What each layer sees in a photo",
            "4",
            "Of each layer the strongest maps: what the strongest unit of each responds to, above"
            " the part of the photo that it sees.",
        ),
    )


def fig3(context: Context) -> Step:
    def make() -> Made:
        net, size = context.run.architecture, context.run.input_size
        named = context.run.origins
        drawings = {
            "figure3": lambda: figure3(net, size, channels=3, named=named),
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
