"""Titles of classes: ILSVRC's come with the package, others from files as they are published."""

from __future__ import annotations

import pytest

from zfnet_jax.data import titles
from zfnet_jax.importers.preprocessing import read_class_names

TINY = ["n01443537", "n02124075", "n04067472"]  # of Tiny ImageNet; the last is none of ILSVRC's
WORDS = "n00001740\tentity\nn01443537\tgoldfish, Carassius auratus\nn04067472\treel\n"


def test_the_thousand_of_ilsvrc():
    known = titles.ilsvrc()
    order = list(known)
    assert len(order) == 1000
    assert order == sorted(order)
    # Numbers as in every published list.
    for number, name, title in [
        (0, "n01440764", "tench"),
        (1, "n01443537", "goldfish"),
        (134, "n02012849", "crane"),
        (207, "n02099601", "golden retriever"),
        (281, "n02123045", "tabby"),
        (517, "n03126707", "crane"),
        (638, "n03710637", "maillot"),
        (639, "n03710721", "maillot"),
        (717, "n03930630", "pickup"),
        (985, "n11939491", "daisy"),
        (999, "n15075141", "toilet tissue"),
    ]:
        assert (order[number], known[name]) == (name, title)
    shown = titles.of_classes(order, {})
    assert len({one.casefold() for one in shown}) == 1000
    assert [one for one in shown if "(" in one] == [
        *("crane (n02012849)", "Cardigan (n02113186)", "cardigan (n02963159)"),
        *("crane (n03126707)", "maillot (n03710637)", "maillot (n03710721)"),
    ]


def test_imagenettes_ids_have_names_without_being_told():
    ids = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916"]
    ids += ["n03417042", "n03425413", "n03445777", "n03888257"]
    assert titles.of_classes(ids, {}) == (
        *("tench", "English springer", "cassette player", "chain saw", "church", "French horn"),
        *("garbage truck", "gas pump", "golf ball", "parachute"),
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_words_as_they_are_published(tmp_path, encoding):
    path = tmp_path / "words.txt"
    path.write_bytes(WORDS.replace("\n", "\r\n").encode(encoding))
    given = titles.read(path, TINY)
    assert given == {"n01443537": "goldfish", "n04067472": "reel"}
    assert titles.of_classes(TINY, given) == ("goldfish", "Egyptian cat", "reel")
    path.write_text(WORDS.replace("\t", " "), encoding=encoding)  # as Caffe's synset_words.txt
    assert titles.read(path, TINY) == given


def test_titles_of_own_classes(tmp_path):
    path = tmp_path / "titles.txt"
    path.write_text("0\tParis, Texas\n1\tcaf\u00e9\n", encoding="utf-8")
    assert titles.read(path, ["0", "1"]) == {"0": "Paris, Texas", "1": "caf\u00e9"}
    path.write_text("first\n\nsecond\n", encoding="utf-8")
    assert titles.read(path, ["0", "1"]) == {"0": "first", "1": "second"}
    path.write_text("cafe\u0301\tcoffee\n", encoding="utf-8")  # as another system writes the name
    assert titles.read(path, ["caf\u00e9"]) == {"caf\u00e9": "coffee"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"first\nsecond\n", "holds 2 titles, but there are 3 classes"),
        (b"0\tone\n1\n", "'1' has no title behind a tab"),
        (b"n01443537\ta\nn01443537\tb\n", "gives two titles to 'n01443537'"),
        (b"0\tone\n", "names none of the 3 classes \\(n01443537, n02124075, n04067472\\)"),
        ("0\tone\n1\tcaf\u00e9\n".encode("latin-1"), "is not text in UTF-8: line 2 holds the byte"),
        (b"", "holds 0 titles"),
    ],
)
def test_a_file_that_gives_no_titles_is_refused_by_its_name(tmp_path, content, message):
    path = tmp_path / "titles.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"titles.txt {message}|titles.txt: {message}"):
        titles.read(path, TINY)


def test_a_list_of_an_imported_nets_classes(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffchien\ncaf\u00e9\n".encode())
    assert read_class_names(path, 2) == (("chien", "caf\u00e9"), {})
    path.write_text("n01440764 tench, Tinca tinca\nn00000001\tmine\n", encoding="utf-8")
    given = (("n01440764", "n00000001"), {"n01440764": "tench", "n00000001": "mine"})
    assert read_class_names(path, 2) == given
    with pytest.raises(ValueError, match=r"names.txt holds 2 class names, the net has 3"):
        read_class_names(path, 3)
