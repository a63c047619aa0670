"""Diagnoses trained nets: dominance, spectrum, dead maps and aliasing, as a table.

python -m scripts.diagnose --workdir=DIR [--workdir=DIR ...]

The numbers of each run, at its newest checkpoint that was mined, go to
WORKDIR/analysis/diagnosis.json. Of a run that was not mined, dead maps and aliasing stay open.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from zfnet_jax.command import shell

_WORKDIRS = flags.DEFINE_multi_string(
    "workdir", None, "Folder of a run; may be repeated.", required=True
)
_SPLIT = flags.DEFINE_string("split", None, "The split; validation where several were mined.")


def main() -> None:
    from zfnet_jax.report.table import markdown  # after the flags, so that --help needs nothing
    from zfnet_jax.studies.first_layers.table import diagnosis_table

    results = [_diagnose(Path(workdir)) for workdir in _WORKDIRS.value]
    print(markdown([diagnosis_table(results)]))


def _diagnose(workdir: Path) -> dict[str, Any]:
    from zfnet_jax.files import write_json
    from zfnet_jax.runs.run import open_run
    from zfnet_jax.studies.features import winners
    from zfnet_jax.studies.features.chosen import mined_steps
    from zfnet_jax.studies.first_layers.diagnosis import diagnose

    step = mined = None
    try:
        step, folder = max(mined_steps(workdir, _SPLIT.value).items())
        mined = winners.load(folder)
    except FileNotFoundError:
        if _SPLIT.value:
            raise
    result = diagnose(open_run(workdir, step), mined)
    path = workdir / "analysis" / "diagnosis.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    return result


if __name__ == "__main__":
    shell.run(main)
