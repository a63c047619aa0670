"""What a study leaves: a folder for each result, which no other result takes the place of.

WORKDIR/studies/STUDY/WORDS-DIGEST/ holds arrays.npz, or files of the study's own, and about.json,
what they were made from; figures drawn from them lie beside. WORDS are for the reader; DIGEST is of
all that the result depends on: options, checkpoint, data. The same study of the same things finds
its result there instead of measuring again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zfnet_jax import distributed, lock, parallel, tasks
from zfnet_jax.files import (
    damage_told,
    remove_unfinished_folders,
    whole_folder,
    write_arrays,
    write_json,
)
from zfnet_jax.runs import checkpoint, provenance, titles, workdir
from zfnet_jax.runs.run import Run
from zfnet_jax.studies.options import AnyOptions, arguments, command, identity, in_words

Arrays = dict[str, np.ndarray]

FOLDER = "studies"  # in a run's folder
_LONGEST = 60  # characters of the words in a folder's name
_MOST_BYTES = 180  # of them; a file system takes 255 for a name, and more is added to it


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a result is of, beside the net.

    Attributes:
      study: its name.
      options: with nothing left for the net or its data to decide.
      words: a few that a reader knows the result by.
      data: of images that the options do not name: fingerprints and the like, as JSON values.
      version: of the way it is measured; another one makes other results.
      of_checkpoint: whether the run's checkpoint made it; if not, further training leaves it true.
    """

    study: str
    options: AnyOptions
    words: tuple[str, ...]
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: int = 1
    of_checkpoint: bool = True


@dataclasses.dataclass(frozen=True)
class Result:
    """A saved result.

    Attributes:
      about: what it was made from: 'options', 'step', 'data', versions, 'command', ...
    """

    folder: Path
    about: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """The arrays and what is said of them."""
        return [self.folder / "arrays.npz", self.folder / "about.json"]

    @property
    def drawn(self) -> Arrays:
        """The arrays for a figure: 'class_names' as people see them (see `data.titles`)."""
        if "class_names" not in self.arrays:
            return self.arrays
        names = titles.of_classes(run_of(self.folder), self.arrays["class_names"].tolist())
        return self.arrays | {"class_names": np.array(names)}

    @property
    def note(self) -> str:
        """Which checkpoint it is of, if not the run's newest: see `checkpoint.note`."""
        return checkpoint.note(run_of(self.folder), self.about["step"])

    def drawn_by(self, figure: str, out: Path) -> str:
        """The command that draws it, beside what else was found in its run."""
        return command(
            "figures",
            f"--figure={figure}",
            f"--workdir={self.folder.parents[2]}",
            f"--arrays={self.folder}",
            f"--out={out}",
        )

    @functools.cached_property
    def arrays(self) -> Arrays:
        """ValueError: the file is damaged."""
        # Of a damaged file np.load leaves open what it has opened itself.
        with (
            damage_told(self.folder, "remove it, and measure again"),
            (self.folder / "arrays.npz").open("rb") as file,
            np.load(file) as arrays,
        ):
            return dict(arrays)


def run_of(folder: Path) -> Path:
    """The folder of the run that a result lies in."""
    return folder.absolute().parents[2]


def command_of(
    run: Run, script: str, options: AnyOptions, *given: str, prepared_dir: str | None = None
) -> str:
    """The command that makes the result of a run's checkpoint.

    Args:
      given: further flags.
      prepared_dir: where the images lie, if not where the run's config says.
    """
    its = [f"--workdir={run.directory}", f"--step={run.step}"]
    if prepared_dir:
        its.append(f"--prepared_dir={prepared_dir}")
    return command(script, *its, *given, *arguments(options))


def digest_of(content: Mapping[str, Any]) -> str:
    """The digest in the name of a result that depends on these JSON values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def folder_of(run: Run, subject: Subject) -> Path:
    """Where a result lies, or would."""
    content = _depends_on(run, subject)
    words = re.sub(r"[^\w.+-]+", "_", "-".join(subject.words))[:_LONGEST]
    words = words.encode(errors="replace")[:_MOST_BYTES].decode(errors="ignore")
    return run.directory / FOLDER / subject.study / f"{words}-{digest_of(content)}"


def _depends_on(run: Run, subject: Subject) -> dict[str, Any]:
    return {
        "version": subject.version,
        "options": identity(subject.options),
        "net": provenance.net_digest(run) if subject.of_checkpoint else None,
        "data": dict(subject.data),
    }


def is_there(run: Run, subject: Subject) -> bool:
    """Whether a result is saved, whole."""
    return (folder_of(run, subject) / "about.json").exists()


def measured_once(
    run: Run,
    subject: Subject,
    measure: Callable[[], Arrays],
    *,
    command: str,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """The arrays of a study, measured and saved unless they are there. See `made_once`."""

    def make(folder: Path | None) -> None:
        arrays = measure()
        if folder is not None:
            write_arrays(folder / "arrays.npz", arrays)

    return made_once(run, subject, make, command=command, about=about)


def made_once(
    run: Run,
    subject: Subject,
    make: Callable[[Path | None], Mapping[str, Any] | None],
    *,
    command: str,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """The result of a study, made if it is not there; of two who make it at once one waits.

    All processes of a job call this and `make` together.

    Args:
      make: fills a folder with the result's files; only the process that writes is given one. It
        may return more to say of the result, which counts before anything else that is said.
      command: what makes the same in a shell.
      about: more to say of the result, JSON values that it does not depend on.

    Raises:
      ValueError: what lies there is no whole result.
      DisagreementError: the processes would make another result each, or do not share the folder.
    """
    folder = folder_of(run, subject)
    workdir.check_shared(run.directory)
    distributed.agree({"result": {"study": subject.study, **_depends_on(run, subject)}})
    with contextlib.ExitStack() as locks:
        # One process looks: the others may not see the same on a file system of several hosts.
        said = parallel.by_writer(lambda: _looked_up(run, subject, locks))
        if said is None:
            with contextlib.ExitStack() as filling:
                unfinished = None
                if parallel.is_writer():
                    unfinished = filling.enter_context(whole_folder(folder))
                found = dict(make(unfinished) or {})

                def finish() -> dict[str, Any]:
                    assert unfinished is not None  # of the writer
                    described = _about(run, subject, command, about or {}) | found
                    write_json(unfinished / "about.json", described)
                    filling.close()
                    return load(folder).about

                said = parallel.by_writer(finish)
    return Result(folder, said)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A result that is wanted; `command` and `about` as of `made_once`."""

    subject: Subject
    command: str
    about: Mapping[str, Any]


Measured = tuple[Arrays, Mapping[str, Any]]  # arrays, and what is said of them


def made_apart(
    run: Run, groups: Sequence[Sequence[Wanted]], make: Callable[[Wanted], Measured]
) -> Iterator[tuple[Wanted, Result]]:
    """Independent results, each made on a device of its own unless it is there.

    All processes of a job call this together, and read all of it. Each result is saved when those
    are made that the other devices make at the same time. Of two jobs that make one at once, one
    waits.

    Args:
      groups: those of one follow each other on the same device, as long as all are there to make.
      make: measures one, see `tasks.dealt`. What it says of a result counts before anything else
        that is said.

    Yields:
      what was wanted, and its result.

    Raises:
      ValueError: what lies there is no whole result.
      DisagreementError: see `made_once`.
    """
    workdir.check_shared(run.directory)
    wanted = [_depends_on(run, one.subject) for group in groups for one in group]
    distributed.agree({"results": wanted})
    count = parallel.device_count()
    for begin in range(0, len(groups), count):
        for together in itertools.zip_longest(*groups[begin : begin + count]):
            yield from _made_at_once(run, [one for one in together if one is not None], make)


def _made_at_once(
    run: Run, wanted: Sequence[Wanted], make: Callable[[Wanted], Measured]
) -> Iterator[tuple[Wanted, Result]]:
    with contextlib.ExitStack() as locks:
        said = parallel.by_writer(lambda: _all_looked_up(run, wanted, locks))
        missing = [one for one, about in zip(wanted, said) if about is None]
        measured = list(tasks.dealt(missing, make))
        written = iter(
            parallel.by_writer(lambda: [_written(run, *one) for one in zip(missing, measured)])
        )
    for one, about in zip(wanted, said):
        folder = folder_of(run, one.subject)
        yield one, Result(folder, next(written) if about is None else about)


def _all_looked_up(
    run: Run, wanted: Sequence[Wanted], locks: contextlib.ExitStack
) -> list[dict[str, Any] | None]:
    """`_looked_up` of each. Jobs that want the same results in other orders lock them in one."""
    order = sorted(range(len(wanted)), key=lambda n: folder_of(run, wanted[n].subject).name)
    found = {number: _looked_up(run, wanted[number].subject, locks) for number in order}
    return [found[number] for number in range(len(wanted))]


def _looked_up(run: Run, subject: Subject, locks: contextlib.ExitStack) -> dict[str, Any] | None:
    """What is said of a result; None if it is not there. Its lock is held from here on."""
    folder = folder_of(run, subject)
    if locks.enter_context(lock.waited_for(folder.with_name(f".{folder.name}.lock"))):
        remove_unfinished_folders(folder)
    if is_there(run, subject):
        return load(folder).about
    if folder.exists():
        raise ValueError(f"{folder} has lost its about.json: remove it, and measure again")
    return None


def _written(run: Run, wanted: Wanted, measured: Measured) -> dict[str, Any]:
    """Saves a result; what is said of it."""
    arrays, found = measured
    folder = folder_of(run, wanted.subject)
    with whole_folder(folder) as unfinished:
        write_arrays(unfinished / "arrays.npz", arrays)
        described = _about(run, wanted.subject, wanted.command, wanted.about) | dict(found)
        write_json(unfinished / "about.json", described)
    return load(folder).about


def load(folder: str | Path) -> Result:
    """Opens a saved result.

    Raises:
      FileNotFoundError: there is none.
    """
    path = Path(folder) / "about.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no result of a study: there is no about.json")
    return Result(Path(folder), json.loads(path.read_text(encoding="utf-8")))


def find(workdir: str | Path, study: str, step: int | None = None) -> list[Result]:
    """The saved results of a study, of one checkpoint if `step` is given, the newest last."""
    root = Path(workdir) / FOLDER / study
    # Folders that are being filled begin with a dot.
    found = [load(path.parent) for path in root.glob("[!.]*/about.json")]
    found = [one for one in found if one.about.get("study") == study]  # others are no results
    found = [one for one in found if step in (None, one.about["step"])]
    return sorted(found, key=lambda one: (one.about["finished"], one.folder.name))


def _about(run: Run, subject: Subject, command: str, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "study": subject.study,
        "options": in_words(subject.options),
        "version": subject.version,
        "data": dict(subject.data),
        **more,
        "command": command,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S"),
        **provenance.of_run(run),
    }
