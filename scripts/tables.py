"""Writes Tables 2 and 3 of the paper with what was measured beside the published numbers.

    python -m scripts.evaluate --sweep=runs/table3
    python -m scripts.evaluate --sweep=runs/table3 --split=train --crops=1 --noprobabilities
    python -m scripts.tables --table=3 --sweep=runs/table3 --out=FOLDER

From the saved predictions of a sweep's runs (configs/ablations.py for Table 3, configs/ensemble.py
for Table 2; --sweep may be repeated) come tableN.md, .tex, .csv, tableN-differences.csv and
tableN.json. What was not run is a dash with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import flags

from scripts import shell

_TABLE = flags.DEFINE_enum("table", None, ["2", "3"], "Number in the paper.")
_SWEEPS = flags.DEFINE_multi_string("sweep", None, "Folder of a sweep; may be repeated.")
_OUT = flags.DEFINE_string("out", None, "The folder to write into.")
_CROPS = flags.DEFINE_enum("crops", "10", ["1", "10"], "Crops of the validation images.")
_TRAIN_CROPS = flags.DEFINE_enum("train_crops", "1", ["1", "10"], "Crops of the training images.")
_LEVEL = flags.DEFINE_float("level", 0.95, "Of the confidence intervals.")
_RESAMPLES = flags.DEFINE_integer("resamples", 10_000, "Of the bootstrap.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap.", lower_bound=0)


def main() -> None:
    from zfnet_jax.analysis.error_table import Options, error_table  # after the flags
    from zfnet_jax.files import write_text
    from zfnet_jax.report import error_table as report

    sweeps = [Path(path) for path in _SWEEPS.value]
    for sweep in sweeps:
        if not sweep.is_dir():
            raise FileNotFoundError(f"there is no sweep in {sweep}")
    options = Options(
        crops=int(_CROPS.value),
        train_crops=int(_TRAIN_CROPS.value),
        level=_LEVEL.value,
        resamples=_RESAMPLES.value,
        seed=_SEED.value,
    )
    table = error_table(int(_TABLE.value), sweeps, options)
    out, name = Path(_OUT.value), f"table{_TABLE.value}"
    out.mkdir(parents=True, exist_ok=True)
    markdown = report.as_markdown(table)
    texts = {
        f"{name}.md": markdown,
        f"{name}.tex": report.as_latex(table),
        f"{name}.csv": report.as_csv(table),
        f"{name}-differences.csv": report.differences_as_csv(table),
        f"{name}.json": json.dumps(table, indent=2) + "\n",
    }
    print(markdown)
    for file_name, text in texts.items():
        write_text(out / file_name, text)
        print(out / file_name)


if __name__ == "__main__":
    flags.mark_flags_as_required(["table", "sweep", "out"])
    shell.run(main)
