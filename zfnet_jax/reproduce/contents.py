"""The chapters of the report, in the paper's order."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chapter:
    """Results that belong together.

    Attributes:
      where: in the paper.
      sections: of the paper whose figures and tables it holds.
    """

    title: str
    where: str
    sections: tuple[str, ...]


CHAPTERS = (
    Chapter("The net and its training", "Sections 2 and 3", ("2.1", "3")),
    Chapter("What feature maps respond to", "Section 4", ("4",)),
    Chapter("Choosing an architecture", "Section 4.1", ("4.1",)),
    Chapter("What the answer depends on", "Sections 4.2 and 4.3", ("4.2", "4.3")),
    Chapter("Errors on ImageNet, and ablations", "Section 5.1", ("5.1",)),
    Chapter("What the features are worth elsewhere", "Sections 5.2 and 5.3", ("5.2", "5.3")),
    Chapter("Beyond the paper", "", ("",)),
)
