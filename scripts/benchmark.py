"""What the benchmarks share: forms that take turns, and packages that only they need."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping


def best_seconds(forms: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the best round of each form; in a round each has its turn."""
    best = dict.fromkeys(forms, float("inf"))
    for _ in range(rounds):
        for name, form in forms.items():
            began = time.perf_counter()
            form()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def check_installed(*packages: str) -> None:
    """ValueError unless the packages of requirements-bench.txt are there."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ValueError(
                f"{error}: this benchmark needs pip install -r requirements-bench.txt"
            ) from error
