"""The flag that says which checkpoint of a run is opened, the same in every script."""

from __future__ import annotations

from typing import cast

from absl import flags

from zfnet_jax.runs import steps
from zfnet_jax.runs.steps import Which

flags.disclaim_key_flags()  # it belongs to the script, whose --help shows it


class _Parser(flags.ArgumentParser[Which]):
    def parse(self, argument: str | int) -> Which:
        return steps.parse(str(argument))

    def flag_type(self) -> str:
        return "step"


def define(if_not_given: str = "the newest", only: str = "") -> flags.FlagHolder[Which | None]:
    """Defines --step.

    Args:
      if_not_given: which one is taken then.
      only: what it counts for, where that is not all that the script does.
    """
    text = (
        "Step of the checkpoint: a number, 'best' (lowest validation error) or 'latest';"
        f" {if_not_given} if not given{f' ({only})' if only else ''}."
    )
    flag = flags.DEFINE(_Parser(), "step", None, text, serializer=flags.ArgumentSerializer())
    return cast("flags.FlagHolder[Which | None]", flag)
