"""What lies below a folder of photos: the photos, and all else with the reason why it is none.

Photos lie in whatever folders, as torchvision's ImageFolder reads them; their keys are paths, so
that two of one name do not collide. Hidden files and folders do not exist for it.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from zfnet_jax.data.decode import EXTENSIONS
from zfnet_jax.names import fit

# Made by systems and their tools; what looks like a photo in them is a thumbnail or was deleted.
_OF_SYSTEMS = {
    "#recycle",  # Synology
    "$RECYCLE.BIN",  # Windows
    "@Recycle",  # QNAP
    "@eaDir",  # Synology
    "System Volume Information",  # Windows
    "__MACOSX",  # archives made on macOS
    "lost+found",  # Linux
}
_NO_PHOTO = "extension is not one of a photo"
_OF_SYSTEM = "a folder of the system"
_PREPARED = "prepared images"
_LINK = "a link to a folder that is read already"
EMPTY = "no photos, so no class"
_OUTSIDE = "not inside a class folder"

_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval")
_NAMED = 5  # names in a message


class Photo(NamedTuple):
    """A file by its path below the folder; its size in bytes, -1 where it is none, such as a link
    to nothing; and when it was last written, nanoseconds."""

    key: str
    size: int
    written: int


class Below:
    """All that lies below a folder, every folder once.

    Attributes:
      left_out: what is no photo, as {'key', 'reason'}; grows as the photos are read.
    """

    def __init__(self, root: Path):
        self._root = root
        self._read: set[tuple[int, int]] = set()  # folders, by device and inode
        self.left_out: list[dict[str, str]] = []

    def by_class(self) -> Iterator[tuple[str, list[Photo]]]:
        """Each folder in it that holds photos, and those, in the order of sorted names."""
        for entry in _visible(self._root):
            linked = entry.is_symlink()
            if not _is(entry, "dir"):
                self._leave_out(entry.name, _OUTSIDE)
            elif self._may_enter(entry, entry.name, linked):
                photos = list(self._photos(entry.name, linked))
                if photos:
                    yield entry.name, photos
                else:
                    self._leave_out(entry.name, EMPTY)

    def photos(self, inside: str = "") -> Iterator[Photo]:
        """All photos, in whatever folders, or those inside one of the folders."""
        yield from self._photos(inside, linked=False)

    def _leave_out(self, key: str, reason: str) -> None:
        self.left_out.append({"key": key, "reason": reason})

    def _photos(self, start: str, linked: bool) -> Iterator[Photo]:
        """The photos of a folder and then of those in it, in the order of sorted names."""
        folders = [(start, linked)]
        while folders:
            where, linked = folders.pop()
            inside, entries = [], _visible(self._root / where)
            if _is_prepared({entry.name for entry in entries}):
                self._leave_out(where, _PREPARED)
                continue
            for entry in entries:
                key = f"{where}/{entry.name}" if where else entry.name
                if _is(entry, "dir"):
                    by_link = linked or entry.is_symlink()
                    if self._may_enter(entry, key, by_link):
                        inside.append((key, by_link))
                elif not entry.name.lower().endswith(EXTENSIONS):
                    self._leave_out(key, _NO_PHOTO)
                elif _is(entry, "file"):
                    about = entry.stat()
                    yield Photo(key, about.st_size, about.st_mtime_ns)
                else:
                    yield Photo(key, -1, 0)
            folders += reversed(inside)

    def _may_enter(self, entry: os.DirEntry[str], key: str, linked: bool) -> bool:
        """Whether a folder is none of a system, and no link leads to it again.

        One that two names lead to would give its photos two classes, and a circle no end.
        """
        if entry.name in _OF_SYSTEMS:
            self._leave_out(key, _OF_SYSTEM)
            return False
        if not linked:
            return True
        if not self._read:
            self._read.update(_folders_of(self._root))
        about = entry.stat()
        target = about.st_dev, about.st_ino
        if target in self._read or self._root.resolve().is_relative_to(Path(entry.path).resolve()):
            self._leave_out(key, _LINK)
            return False
        self._read.add(target)
        return True


def summary(left_out: Iterable[dict[str, str]]) -> str:
    """What was left out, by its reasons, in one line; empty if nothing was."""
    keys: dict[str, list[str]] = {}
    for entry in left_out:
        keys.setdefault(entry["reason"], []).append(entry["key"])
    return "; ".join(f"{reason}: {few(names)}" for reason, names in keys.items())


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(fit, names[:_NAMED])) + more


def where_classes_are(folder: str, keys: Iterable[str]) -> str:
    """What a folder holds in place of class folders, and what to name; empty if it holds those.

    Args:
      folder: as it was named.
      keys: of all photos, paths below it.
    """
    held = {tuple(key.split("/")[:-1]) for key in keys}  # folders that hold photos
    ends = zip(min(held), max(held))
    common = tuple(one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], ends))
    if common in held:
        return ""
    inside = sorted({path[len(common)] for path in held})
    here = fit(Path(folder, *common))
    if all(name.lower() in _SPLITS for name in inside):
        if all(len(path) == len(common) + 1 for path in held):
            return (
                f"{here} holds splits ({few(inside)}) but no class folders: put the photos of each"
                " class into a folder of its own"
            )
        splits = few([str(Path(folder, *common, name)) for name in inside])
        return f"{here} holds splits, not classes: name one of {splits}"
    if common:
        return (
            f"all its photos lie in {len(inside)} folders of {here} ({few(inside)}): if those are"
            " the classes, name that folder; if they are one class, put their photos into one"
        )
    return ""


def seem_deeper(keys: Iterable[str]) -> str:
    """A line where the classes may be the folders in the class folders; empty if they are not."""
    folders: dict[str, set[str]] = {}
    for key in keys:
        *parents, _ = key.split("/")
        if len(parents) < 2:
            return ""
        name, *inside = parents
        folders.setdefault(name, set()).add(inside[0])
    several = [
        f"{name}/{one}"
        for name, inside in folders.items()
        if len(inside) > 1
        for one in sorted(inside)
    ]
    if not several:
        return ""
    return (
        f"all photos lie in folders inside the class folders, such as {few(several)}, and count for"
        " the class; if those are the classes, name the folder that holds them"
    )


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def _is_prepared(names: set[str]) -> bool:
    """Whether these are the files of a prepared split, or of an unfinished one."""
    return names >= {"manifest.json", "labels.npy"} or names >= {"description.json", "images.npy"}


def _is(entry: os.DirEntry[str], kind: str) -> bool:
    """Whether it is a 'dir' or 'file' after following links; a circle of links is neither."""
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _folders_of(root: Path) -> Iterator[tuple[int, int]]:
    """Device and inode of a folder and all below it that are no links and not hidden."""
    for where, folders, _ in os.walk(root):
        about = Path(where).stat()
        yield about.st_dev, about.st_ino
        folders[:] = [
            name for name in folders if not name.startswith(".") and name not in _OF_SYSTEMS
        ]
