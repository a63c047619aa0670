"""Forms of one computation that take turns, and what comes of it as rows of a table."""

from __future__ import annotations

import dataclasses
import importlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

from zfnet_jax import extras

Form = Callable[[], object]

_WARM_UP = 2  # rounds that compile and fill caches; they do not count
# On a CPU and elsewhere: seconds of a trial (what takes less is repeated), and before each (a CPU's
# threads wait a while after a form before they sleep).
_LEAST, _PAUSE = (0.2, 0.05), (0.3, 0.0)


@dataclasses.dataclass(frozen=True)
class Work:
    """What a computation has to do at least, for its share of the machine's limit.

    Attributes:
      flops: of its matrix products, a multiplication and an addition counting as two.
      bytes: read and written.
      mode: what the products are computed in, see `machine.MODES`.
    """

    flops: float = 0.0
    bytes: float = 0.0
    mode: str = "float32"


@dataclasses.dataclass(frozen=True)
class Options:
    """What every suite is told.

    Attributes:
      trials: rounds that count.
      batches: batch sizes of the suites that vary them.
      workdir: a run's folder, for the suites that need a trained net; None leaves them out.
      photos: a folder of JPEG files for the input suite; None draws pictures.
      flops_per_second: the measured limit of the machine, by `machine.MODES`.
      bytes_per_second: likewise.
      small: sizes of a rehearsal, for the suites that are made for an accelerator.
    """

    trials: int
    batches: tuple[int, ...]
    workdir: str | None
    photos: str | None
    flops_per_second: Mapping[str, float]
    bytes_per_second: float
    small: bool

    def share(self, work: Work, seconds: float) -> float:
        """The time that the limits allow, as a share of the time it took."""
        limits = (work.flops / self.flops_per_second[work.mode], work.bytes / self.bytes_per_second)
        return max(limits) / seconds


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the results.

    Attributes:
      what: the computation, the same for all forms that are compared.
      form: who computes it; ours comes first.
      unit: of the next three: 's', 'images/s', 'MiB', ...
      median, low, high: of the trials; low and high are the quartiles.
      ratio: the median of ours over this one's; None in our own line.
      target: what the ratio should reach, see `reached`.
      share: of the measured limit, see `Options.share`.
    """

    what: str
    form: str
    unit: str
    median: float
    low: float
    high: float
    ratio: float | None = None
    target: float | None = None
    at_least: bool = False
    share: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is at most the target, or at least with `at_least`."""
        if self.target is None or self.ratio is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


def take_turns(forms: Mapping[str, Form], trials: int) -> dict[str, list[float]]:
    """Seconds of each form in every round that counts; every other round goes backwards.

    A form that takes little is called several times, and their mean counts.
    """
    import jax

    elsewhere = jax.default_backend() != "cpu"
    least, pause = _LEAST[elsewhere], _PAUSE[elsewhere]
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    calls = dict.fromkeys(forms, 1)
    for number in range(_WARM_UP + trials):
        for name in list(forms) if number % 2 else reversed(list(forms)):
            time.sleep(pause)
            began = time.perf_counter()
            for _ in range(calls[name]):
                forms[name]()
            taken = (time.perf_counter() - began) / calls[name]
            if number >= _WARM_UP:
                seconds[name].append(taken)
            elif number:  # compiled
                calls[name] = max(1, round(least / taken))
    return seconds


def compare(
    what: str,
    forms: Mapping[str, Form],
    options: Options,
    *,
    work: Work | None = None,
    targets: Mapping[str, float] | None = None,
    repeats: int = 1,
) -> Iterator[Row]:
    """Times forms in turns; each form returns only once its result is there.

    Args:
      forms: ours first, then what it is compared with.
      repeats: how often a call of a form does the work; a row is about one.
      targets: by form, the most that our time may be of its.
    """
    ours = None
    for name, seconds in take_turns(forms, options.trials).items():
        median, low, high = spread([value / repeats for value in seconds])
        ours = ours or median
        yield Row(
            what=what,
            form=name,
            unit="s",
            median=median,
            low=low,
            high=high,
            ratio=None if name == next(iter(forms)) else ours / median,
            target=(targets or {}).get(name),
            share=options.share(work, median) if work else None,
        )


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median and quartiles."""
    if len(values) == 1:
        return (values[0],) * 3
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return median, low, high


def check_installed(*packages: str) -> None:
    """ValueError unless these packages of the extra 'bench' are there."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise extras.missing(package, "bench") from error
