"""A run's folder with a report's records as `reproduce` leaves them, without a net behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from configs import quickstart
from zfnet_jax.report.table import Column, Table, markdown
from zfnet_jax.reproduce.record import FOLDER, write_record
from zfnet_jax.studies.step import Made

ENTRIES = {
    "fig8": {"heading": "Figure 8: covered parts", "section": "4.3", "look": "Parts.", "paper": ""},
    "table1": {
        "heading": "Table 1: correspondence",
        "section": "4.3",
        "look": "Less.",
        "paper": "",
    },
    "fig2": {
        "heading": "Figure 2: features of a trained net",
        "section": "4",
        "look": "Something in common.",
        "paper": "Layer 2: corners and edges.",
    },
    "fig4": {"heading": "Figure 4: training", "section": "4", "look": "Marks.", "paper": ""},
    "fig7": {"heading": "Figure 7: occlusion", "section": "4.2", "look": "Drops.", "paper": ""},
    "table2": {"heading": "Table 2: nets", "section": "5.1", "look": "Errors.", "paper": ""},
    "overlap": {"heading": "Images in both", "section": "5.2", "look": "Pairs.", "paper": ""},
    "own": {"heading": "An analysis", "section": "", "look": "What is new.", "paper": ""},
}
HOSTILE = '<img src=x onerror="fetch(1)"> [a](https://example.org) ![b](https://example.org/c.png) '
HOSTILE += "x" * 200  # as wide as no screen
ATLAS = ("atlas/index.html",)


def write_run(workdir: Path, *, seed: int = 0) -> Path:
    """A run of which Figs. 2 and 8, Table 1 and errors were made, Fig. 8 of earlier data."""
    report = workdir / "report"
    for folder in ("figures", "tables", "atlas", "overlap/set", "steps"):
        (report / folder).mkdir(parents=True)
    config = quickstart.get_config()
    config.seed = seed
    (workdir / "config.json").write_text(config.to_json())
    about = {"class_names": ["cat", HOSTILE], "images": {"train": 4000, "validation": 1000}}
    (workdir / "run.json").write_text(json.dumps(about))
    record = {"step": 125, "epoch": 1, "train/loss": 2.1, "val/loss": 2.0, "val/top1": 0.3}
    lines = [record, record | {"step": 250, "epoch": 2, "val/loss": 1.0}]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    figures = {name: report / "figures" / f"{name}.png" for name in ("figure2", "figure8")}
    for path in figures.values():
        Image.fromarray(np.full((60, 1760, 3), 90 + seed, np.uint8)).save(path)
    table = report / "tables" / "table1.md"
    columns = (Column("masked"), *(Column(f"a long heading {number}") for number in range(9)))
    table.write_text(markdown([Table(columns, ((HOSTILE, *["0.1 ± 0.2"] * 9),))]))
    for page in ("atlas", "overlap/set"):
        (report / page / "index.html").write_text("<!doctype html><title>a page</title>")
    overlap = Made([report / "overlap/set/index.html"], [f"What is this? {HOSTILE}"])
    made = {
        "mine": Made([]),
        "fig2": Made([figures["figure2"]], [HOSTILE], {"conv1": [3, 17]}),
        "fig8": Made([figures["figure8"]]),
        "table1": Made([table]),
        "overlap": overlap,
    }
    for name, one in made.items():
        write_record(report, name, one, _about(workdir))
    plan: dict[str, Any] = {
        name: {
            "title": name,
            "entry": ENTRIES.get(name),
            "fingerprint": "1",
            "state": "made",
            "reason": "",
            "needs": [],
            "draft": True,
        }
        for name in (*made, "fig7", "table2", "fig4", "own")
    }
    plan["fig2"]["needs"] = ["mine"]
    plan["fig8"]["fingerprint"] = "2"
    plan["table2"]["reason"] = f"no run named {HOSTILE}"
    (report / FOLDER / "plan.json").write_text(json.dumps(plan))
    return workdir


def _about(workdir: Path) -> dict:
    return {
        "fingerprint": "1",
        "seconds": 1.5,
        "finished": "2026-11-24 13:00",
        "commands": [f"python -m scripts.mine --workdir='{workdir}' && echo {HOSTILE}"],
        "options": {"data": HOSTILE, "k": 9, "nothing": None},
        "draft": True,
        "net": "0123456789abcdef",
        "device": "1 x cpu",
        "run": workdir.name,
        "step": 250,
        "epoch": 2.0,
        "versions": {"jax": "0.10.2"},
    }
