"""What an exported file says of the run that it comes from, so that it can be imported again."""

from __future__ import annotations

from zfnet_jax.importers import own
from zfnet_jax.runs import titles, workdir
from zfnet_jax.runs.run import Run


def of_run(run: Run) -> dict[str, str]:
    """The file's metadata, see `importers.own`."""
    said = own.description(
        workdir.as_json(run.config),
        run.class_names,
        run.step,
        titles.given(run.directory),
        run.origins,
    )
    return {own.KEY: said}
