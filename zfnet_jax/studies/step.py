"""What a study tells a reproduction of the paper: its steps, and what the report says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Made:
    """What a step leaves.

    Attributes:
      files: all of them; the report shows pictures (.png) and tables (.md), and links the others.
      notes: sentences for the report.
      maps: numbers of the feature maps that it shows, by layer; the report links the atlas.
      commands: what does the same in a shell, where the step did not know before it was made.
    """

    files: Sequence[Path]
    notes: Sequence[str] = ()
    maps: Mapping[str, Iterable[int]] = dataclasses.field(default_factory=dict)
    commands: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the report says of a figure or table.

    Attributes:
      heading: its number in the paper and what it shows.
      section: of the paper, such as '4.2'; '' of what the paper has not.
      look: what to look for.
      paper: what the paper found, where that is a sentence or a number.
    """

    heading: str
    section: str
    look: str
    paper: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """One result of the paper, or what several of them are made from.

    Attributes:
      name: such as 'fig2', 'table7' or 'mine'.
      title: what it does.
      make: does it; of errors that the user can mend (`lifeline.EXPECTED`) the message says all.
      entry: what the report says of it; None where others show what it has made.
      needs: names of steps that come first.
      options: all that the result depends on beside the net and `needs`, as JSON values.
      commands: what does the same in a shell.
      images: about how many images it forwards through the net.
      seconds: about how long it takes beside that.
      missing: why it cannot be made; None if it can.
      version: of the way it is made; a higher one makes earlier results stale.
    """

    name: str
    title: str
    make: Callable[[], Made]
    entry: Entry | None = None
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    commands: tuple[str, ...] = ()
    images: float = 0
    seconds: float = 1
    missing: str | None = None
    version: int = 1
