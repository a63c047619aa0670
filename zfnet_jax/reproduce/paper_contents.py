"""What the report shows, in the paper's order, with what to look for in each."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Entry:
    """A figure or table of the paper.

    Attributes:
      step: name of the step that makes it.
      heading: its number and what it shows.
      look: what to look for.
      paper: what the paper found, where that is a sentence or a number.
    """

    step: str
    heading: str
    look: str
    paper: str = ""


@dataclasses.dataclass(frozen=True)
class Chapter:
    """Entries that belong together, and where in the paper."""

    title: str
    where: str
    entries: tuple[Entry, ...]


CHAPTERS = (
    Chapter(
        "The net and its training",
        "Sections 2 and 3",
        (
            Entry(
                "training",
                "Training",
                "The validation error should fall and then lie flat; where it rises again while"
                " the training error falls, the net learns its images by heart.",
                "70 epochs, the learning rate lowered by hand where the validation error stalled.",
            ),
            Entry(
                "evaluate",
                "Errors",
                "How often the most probable class is wrong, or with more than five classes all of"
                " the first five, and which classes are taken for which.",
                "One net, ImageNet, ten crops: 38.4% top-1 and 16.5% top-5 error.",
            ),
            Entry(
                "fig1",
                "Figure 1: a layer and its deconvnet",
                "Follow one map up on the right and down on the left: below, each value from above"
                " returns to the place of the maximum that its switch remembers.",
            ),
            Entry(
                "fig3",
                "Figure 3: the architecture",
                "Sizes of maps shrink from left to right while their number grows, but for the last"
                " conv layer.",
                "224 x 224 pixels, five conv layers of 96, 256, 384, 384 and 256 maps, two dense"
                " layers of 4096 units.",
            ),
        ),
    ),
    Chapter(
        "What feature maps respond to",
        "Section 4",
        (
            Entry(
                "fig2",
                "Figure 2: features of a trained net",
                "The nine patches of a map should have something in common, and the projections"
                " should show what: edges and colours below, textures in the middle, parts and"
                " whole objects above.",
                "Layer 2: corners and edges; 3: textures; 4: parts of objects; 5: whole objects in"
                " varied pose.",
            ),
            Entry(
                "atlas",
                "All feature maps",
                "Every map of every layer, with its nine strongest images: sort by class purity to"
                " find the maps that stand for one class.",
            ),
            Entry(
                "fig4",
                "Figure 4: features during training",
                "Orange marks say that another image has taken over: in the lower layers they"
                " should end early, in the upper ones late.",
                "Lower layers converge within a few epochs, upper ones only after 40 to 50.",
            ),
            Entry(
                "fig5",
                "Figure 5: invariance",
                "The distance in layer 1 should jump at the smallest change; in layer 7 it should"
                " grow slowly and nearly in proportion.",
                "Layer 7 is quasi-linear for shifts and scale; nothing is invariant to rotation"
                " but symmetric objects.",
            ),
        ),
    ),
    Chapter(
        "Choosing an architecture",
        "Section 4.1",
        (
            Entry(
                "fig6",
                "Figure 6: first layers",
                "One filter much stronger than the rest, filters of noise or of none but low"
                " frequencies, dead maps and checkered patterns in layer 2 are what the paper"
                " mended.",
                "11 x 11 filters with stride 4 miss mid frequencies and alias; 7 x 7 with stride 2"
                " do so less.",
            ),
        ),
    ),
    Chapter(
        "What the answer depends on",
        "Sections 4.2 and 4.3",
        (
            Entry(
                "fig7",
                "Figure 7: occlusion",
                "The probability of the class should fall where the square covers the object, and"
                " the strongest map where it covers what the map's projection shows.",
                "When the object is covered, activity and probability of the class drop strongly.",
            ),
            Entry(
                "fig8",
                "Figure 8: covered parts",
                "The same part is covered in every image, or a place at random.",
            ),
            Entry(
                "table1",
                "Table 1: correspondence",
                "Lower is more alike: parts should lie below random places, more clearly in layer"
                " 5 than in layer 7.",
                "Layer 5: 0.067 to 0.079 for parts, 0.107 for random places; layer 7: 0.068 to"
                " 0.069 and 0.073.",
            ),
        ),
    ),
    Chapter(
        "Errors on ImageNet, and ablations",
        "Section 5.1",
        (
            Entry(
                "table2",
                "Table 2: nets and ensembles",
                "Ensembles should beat their members, and ours the Krizhevsky net.",
            ),
            Entry(
                "table3",
                "Table 3: layers removed or resized",
                "Removing the conv layers 3 and 4 or the dense layers 6 and 7 should cost little,"
                " removing both a lot.",
            ),
        ),
    ),
    Chapter(
        "What the features are worth elsewhere",
        "Sections 5.2 and 5.3",
        (
            Entry(
                "overlap",
                "Images in both data sets",
                "Near-duplicates of test images among the training images would flatter the"
                " transferred net.",
                "44 images of Caltech-101 and 243 of Caltech-256, removed from training.",
            ),
            Entry(
                "table4",
                "Table 4: Caltech-101",
                "The pretrained net should lie far above the one trained from scratch.",
            ),
            Entry(
                "table5",
                "Table 5: Caltech-256",
                "As in Table 4, with more classes.",
            ),
            Entry(
                "fig9",
                "Figure 9: accuracy by training images per class",
                "How few images per class the pretrained features need to beat the best earlier"
                " method.",
                "Six images per class were enough.",
            ),
            Entry(
                "table6",
                "Table 6: PASCAL VOC 2012",
                "Pictures of several objects are unlike those of ImageNet: the features should do"
                " well all the same.",
            ),
            Entry(
                "table7",
                "Table 7: features by depth",
                "Accuracy should rise layer by layer.",
                "From 44.8% (layer 1) to 86.2% (layer 5) on Caltech-101.",
            ),
        ),
    ),
)
