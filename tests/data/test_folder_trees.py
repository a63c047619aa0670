"""Whatever people's folders hold: every photo once with its folder's class, or a refusal.

Trees of folders drawn by hypothesis are prepared, the preparation is killed while it writes, its
files lose their ends, the photos are edited, and the same command comes again. More of them:

    ZFNET_TREES=1000 python -m pytest -n 0 tests/data/test_folder_trees.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.photo_folders import contents
from zfnet_jax.data import unfinished
from zfnet_jax.data.prepare import prepare_split
from zfnet_jax.data.prepared import open_prepared, verify
from zfnet_jax.data.sources import FolderSource, Source

SIDE = 4  # pixels of a photo, of one colour that no other has
TREES = int(os.environ.get("ZFNET_TREES", "25"))
OF_SYSTEMS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "#recycle", "@Recycle")

some = settings(
    max_examples=TREES,
    deadline=None,
    derandomize="ZFNET_TREES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def is_name(name: str) -> bool:
    return name not in (".", "..") and len(os.fsencode(name)) <= 200


texts = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1)
bytes_ = st.lists(st.integers(1, 255).filter(lambda one: one != 47), min_size=1, max_size=30)
names = st.one_of(
    st.sampled_from(["cat", "Cat", "dog", "train", "val", "images", "e\u0301", "\u00e9", "a\nb"]),
    st.sampled_from([*OF_SYSTEMS, ".hidden", "$x$", "x.jpg", "prepared", "-", "\\", "\ufeffcat"]),
    texts.filter(is_name),
    bytes_.map(lambda one: os.fsdecode(bytes(one))).filter(is_name),
)
files = st.sampled_from(["1.png", "1.bmp", "2.BMP", "Ü.bmp", "a\nb.png", "._1.bmp"])
folders = st.lists(names, min_size=1, max_size=5)  # photos lie up to four folders below a class
others = st.sampled_from(["notes.txt", "Thumbs.db", "raw.cr2", ".DS_Store", "bad.jpg", "zero.png"])
edits = st.sampled_from(["delete", "add", "move", "swap", "write", "rename", "empty", "touch"])


class Tree:
    """A folder of photos that are edited by number, so that a drawing repeats itself."""

    def __init__(self, root: Path):
        self.root, self.photos = root, 0
        root.mkdir()

    def photo(self, path: Path) -> None:
        """Writes a photo of the next colour."""
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() or not path.resolve().is_relative_to(self.root.parent.resolve()):
                return
            self.photos += 1
            number = self.photos
            colour = (number // 256, number % 256, 40)
            data = io.BytesIO()
            kind = "BMP" if path.name.lower().endswith("bmp") else "PNG"
            Image.new("RGB", (SIDE, SIDE), colour).save(data, kind)
            path.write_bytes(data.getvalue())

    def there(self) -> list[Path]:
        """The files, without what is prepared among them."""
        return sorted(
            path
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_relative_to(self.root / "out")
        )

    def edit(self, kind: str, number: int, name: str) -> None:
        """Does something to the photos, as people do while a preparation stands still."""
        there = self.there()
        if kind == "empty":
            with contextlib.suppress(FileExistsError):
                (self.root / name).mkdir()
            return
        if not there:
            return
        one, other = there[number % len(there)], there[(number + 1) % len(there)]
        if kind == "delete":
            one.unlink()
        elif kind == "add":
            self.photo(one.with_name("added.bmp"))
        elif kind == "move":
            one.rename(other.with_name(f"moved{one.suffix}"))
        elif kind == "swap":
            aside = self.root / "aside"
            one.rename(aside)
            if other.exists():
                other.rename(one)
            aside.rename(other)
        elif kind == "write":
            self.photo(one)
        elif kind == "touch":
            os.utime(one)
        elif kind == "rename":
            top = self.root / one.relative_to(self.root).parts[0]
            if top.is_dir() and not os.path.lexists(self.root / name):
                top.rename(self.root / name)


def expected(root: Path, outside: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Class and colour of each photo by its key, read with os.walk."""
    found = {}
    for where, inside, held in os.walk(root):
        kept = []
        for name in inside:
            path = Path(where, name)
            if name.startswith(".") or name in OF_SYSTEMS:
                continue
            if not path.is_symlink():
                kept.append(name)
            elif path.resolve() == outside.resolve():
                found |= {
                    f"{path.relative_to(root)}/{key}": (path.relative_to(root).parts[0], colour)
                    for key, (_, colour) in expected(outside.parent, Path("/")).items()
                    for key in [key.removeprefix(f"{outside.name}/")]
                }
        inside[:] = kept
        for name in held:
            key = Path(where, name).relative_to(root).as_posix()
            is_photo = name.lower().endswith((".jpg", ".jpeg", ".png", ".webp", ".bmp"))
            if not is_photo or name.startswith(".") or "/" not in key:
                continue
            with contextlib.suppress(OSError):
                colour = Image.open(Path(where, name)).convert("RGB").getpixel((0, 0))
                found[key] = (key.split("/")[0], colour)
    return found


@st.composite
def trees(draw: st.DrawFn) -> Callable[[Path], Tree]:
    placed = draw(st.lists(st.tuples(folders, files), min_size=1, max_size=12))
    besides = draw(st.lists(st.tuples(folders, others), max_size=4))
    empty = draw(st.lists(folders, max_size=3))
    links = draw(
        st.lists(
            st.tuples(folders, st.sampled_from(["up", "self", "class", "gone"])),
            max_size=3,
        )
    )
    has_outside = draw(st.booleans())

    def build(folder: Path) -> Tree:
        tree = Tree(folder / "in")
        tree.photo(folder / "elsewhere" / "owl" / "x.bmp")
        tree.photo(folder / "elsewhere" / "owl" / "deep" / "x.bmp")
        for parts, name in placed:
            tree.photo(tree.root.joinpath(*parts, name))
        for parts, name in besides:
            with contextlib.suppress(OSError):
                tree.root.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                tree.root.joinpath(*parts, name).write_bytes(b"" if name[0] == "z" else b"text")
        for parts in empty:
            with contextlib.suppress(OSError):
                tree.root.joinpath(*parts).mkdir(parents=True, exist_ok=True)
        hidden = (".", *OF_SYSTEMS)  # what a link leads to there is read nowhere else
        first = sorted(
            path
            for path in tree.root.iterdir()
            if path.is_dir() and not path.name.startswith(hidden)
        )
        targets = {
            "up": tree.root.parent,
            "self": tree.root,
            "class": first[0] if first else tree.root,
            "gone": folder / "gone",
        }
        for number, (parts, kind) in enumerate(links):
            with contextlib.suppress(OSError):
                where = tree.root.joinpath(*parts)
                where.mkdir(parents=True, exist_ok=True)
                (where / f"link{number}").symlink_to(targets[kind])
        if has_outside:
            (tree.root / "linked").symlink_to(folder / "elsewhere" / "owl")
        return tree

    return build


@contextlib.contextmanager
def killed_at(number: int) -> Iterator[None]:
    """Ends the writing before its call of that number to the disk, as a kill would."""
    calls = 0

    def counted(real: Callable) -> Callable:
        def call(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == number:
                raise KeyboardInterrupt
            return real(*arguments, **named)

        return call

    with contextlib.ExitStack() as patches:
        for owner, name in (
            (unfinished, "_sync"),
            (unfinished, "_sync_folder"),
            (unfinished.os, "fsync"),
            (Path, "rename"),
            (Path, "replace"),
            (Path, "unlink"),
        ):
            patches.enter_context(mock.patch.object(owner, name, counted(getattr(owner, name))))
        with contextlib.suppress(KeyboardInterrupt):
            yield


def prepared(source: Source, out: Path, *, overwrite: bool = False) -> None:
    prepare_split(
        source,
        out,
        image_size=SIDE,
        max_unreadable=1.0,
        with_mean=True,
        workers=1,
        overwrite=overwrite,
        progress=False,
    )


def check(tree: Tree, out: Path) -> None:
    """What is prepared is what an independent reading of the folder says."""
    wanted = expected(tree.root, tree.root.parent / "elsewhere" / "owl")
    split = open_prepared(out.parent, out.name)
    verify(out.parent, out.name)
    assert len(set(split.keys)) == len(split)
    found = {
        key: (split.class_names[label], tuple(image[0, 0].tolist()))
        for key, label, image in zip(split.keys, split.labels, split.images, strict=True)
    }
    assert found == wanted
    assert all((image == image[0, 0]).all() for image in split.images)
    np.testing.assert_allclose(split.mean, split.images.mean(axis=0), rtol=1e-6)


stages = st.tuples(
    st.integers(1, 40),  # the call to the disk that it is killed at
    st.tuples(st.integers(0, 60), st.integers(0, 60)),  # bytes that the ends of its files lose
    st.booleans(),  # --overwrite
    st.lists(st.tuples(edits, st.integers(0, 50), names), max_size=2),  # of the photos, then
)


@some
@given(build=trees(), stages=st.lists(stages, min_size=1, max_size=3), inside=st.booleans())
def test_every_photo_once_with_its_folders_class_or_one_line(build, stages, inside):
    with (
        tempfile.TemporaryDirectory() as temporary,
        mock.patch.object(unfinished, "COMMIT_EVERY", 2),
    ):
        tree = build(Path(temporary))
        out = (tree.root if inside else Path(temporary)) / "out" / "train"
        for kill, cut, overwrite, changes in stages:
            with contextlib.suppress(ValueError), killed_at(kill):
                prepared(FolderSource(str(tree.root)), out, overwrite=overwrite)
            for name, count in zip(("images.npy", "journal.jsonl"), cut, strict=True):
                path = out.with_name("train.partial") / name
                if path.exists() and path.stat().st_size > count:
                    os.truncate(path, path.stat().st_size - count)
            for kind, number, name in changes:
                with contextlib.suppress(OSError):
                    tree.edit(kind, number, name)
        was = tree.there()
        try:
            source = FolderSource(str(tree.root))
        except ValueError:  # no classes
            return
        assert all(len(note.splitlines()) == 1 for note in source.notes())
        try:
            try:
                prepared(source, out)
            except ValueError:
                prepared(source, out, overwrite=True)
        except ValueError as error:
            assume("no photo is left" not in str(error))  # all are unreadable
            raise
        if json.loads((out / "manifest.json").read_text())["state"] != source.state:
            prepared(source, out, overwrite=True)  # as its line says: same sizes, written since
        check(tree, out)
        before = contents(out)
        prepared(FolderSource(str(tree.root)), out)  # there already
        assert contents(out) == before
        # What was begun with --overwrite stays, to be gone on with or removed.
        assert {path.name for path in out.parent.iterdir()} - {"train.partial"} == {"train"}
        assert [path for path in was if not path.exists()] == []
