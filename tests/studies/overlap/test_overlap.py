"""The overlap search, against slow forms of it, and what training leaves out for it."""

from __future__ import annotations

import base64
import io
import itertools
import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from configs import quickstart
from tests.conftest import run_script, tiny
from zfnet_jax.data.exclusion import exclude
from zfnet_jax.data.photo_set import open_photo_set
from zfnet_jax.data.pictures import OBJECTS, draw
from zfnet_jax.data.prepare import prepare
from zfnet_jax.data.prepared import open_prepared
from zfnet_jax.data.splits import open_split
from zfnet_jax.runs import workdir
from zfnet_jax.studies.context import Context
from zfnet_jax.studies.overlap import measure as overlap
from zfnet_jax.studies.overlap import page as overlap_page
from zfnet_jax.studies.overlap import study as overlap_study
from zfnet_jax.studies.overlap.options import Options
from zfnet_jax.training import train

SIDE = overlap.SIDE
DEFAULT = Options()


def in_batches(images: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for begin in range(0, len(images), size):
        part = images[begin : begin + size]
        yield np.arange(begin, begin + len(part)), part


# ---- Small images


def test_small_images_are_those_that_pillow_makes(split):
    images = split.rows(np.arange(5))
    found = overlap.features(in_batches(images, 3), 5).astype(float)
    for number, image in enumerate(images):
        grey = Image.fromarray((image @ np.array([0.299, 0.587, 0.114])).astype(np.float32))
        for w, (share, top, left) in enumerate(overlap.WINDOWS):
            size = share * grey.width
            y, x = (place * (grey.width - size) for place in (top, left))
            box = (x, y, x + size, y + size)
            small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box), float)
            padded = np.pad(small, overlap.LOCAL // 2, mode="reflect", reflect_type="odd")
            local = np.lib.stride_tricks.sliding_window_view(padded, (overlap.LOCAL,) * 2)
            rest = small - local.mean(axis=(2, 3))
            rest = (rest - rest.mean()).ravel()
            np.testing.assert_allclose(
                found[number, w], rest / np.linalg.norm(rest), atol=2e-3, err_msg=f"{number} {w}"
            )


def test_photos_without_contrast_match_nothing():
    ramp = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, None, None], (64, 64, 3))
    noise = np.random.default_rng(0).integers(120, 123, (64, 64, 3)).astype(np.uint8)
    photo = draw("cat", 1, 64).image
    images = np.stack([np.zeros_like(photo), np.full_like(photo, 200), ramp, noise, photo])
    small = overlap.features(in_batches(images, 5), 5)
    assert np.isfinite(small).all()
    assert overlap.without_contrast(small).tolist() == [0, 1, 2, 3]
    pairs = overlap.find_pairs(small, small, 0.01)
    assert pairs.rows.tolist() == [[4, 4]]


# ---- Pairs


def unit(rng: np.random.Generator, count: int, dimensions: int = 6) -> np.ndarray:
    x = rng.normal(size=(count, len(overlap.WINDOWS), dimensions))
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("block", [8, 2048])
def test_blocks_find_what_comparing_every_pair_finds(within, block, monkeypatch):
    monkeypatch.setattr(overlap, "BLOCK", block)
    rng = np.random.default_rng(0)
    first = unit(rng, 21)
    second = first if within else unit(rng, 13)
    windows = range(len(overlap.WINDOWS))
    allowed = [(0, w) for w in windows] + [(w, 0) for w in windows]
    scores = np.full((len(first), len(second)), -1.0)
    for i, j in np.ndindex(scores.shape):
        if not within or i < j:
            x, y = first[i].astype(float), second[j].astype(float)
            scores[i, j] = max(x[v] @ y[w] for v, w in allowed)
    pairs = overlap.find_pairs(first, None if within else second, 0.7)
    wanted = {pair for pair in np.ndindex(scores.shape) if scores[pair] >= 0.7}
    assert len(wanted) > 10
    assert set(map(tuple, pairs.rows)) == wanted
    assert len(pairs) == len(wanted)
    np.testing.assert_allclose(pairs.score, [scores[tuple(p)] for p in pairs.rows], atol=1e-4)
    assert (np.diff(pairs.score) <= 0).all()
    for (i, j), (v, w), score in zip(pairs.rows, pairs.windows, pairs.score):
        assert 0 in (v, w)
        assert first[i, v].astype(float) @ second[j, w].astype(float) == pytest.approx(
            score, abs=1e-4
        )
    if within:
        scores = np.maximum(scores, scores.T)
    np.testing.assert_allclose(pairs.best[0], scores.max(axis=1).clip(0), atol=1e-4)
    np.testing.assert_allclose(pairs.best[1], scores.max(axis=0).clip(0), atol=1e-4)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_a_threshold_that_says_nothing_is_refused(threshold):
    small = np.zeros((2, len(overlap.WINDOWS), 4), np.float16)
    with pytest.raises(ValueError, match="threshold must be above 0 and at most 1"):
        overlap.find_pairs(small, small, threshold)


def test_too_many_pairs_are_an_error(monkeypatch):
    monkeypatch.setattr(overlap, "MOST_PAIRS", 3)
    same = np.repeat(unit(np.random.default_rng(0), 1), 2, axis=0)
    with pytest.raises(ValueError, match="over 3 pairs"):
        overlap.find_pairs(same, same, 0.9)


def test_of_photos_that_match_one_is_left():
    assert overlap.redundant(np.array([[0, 1], [1, 2], [5, 4]])).tolist() == [1, 5]
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, 40, (60, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    gone = set(overlap.redundant(pairs).tolist())
    assert all(gone & set(pair) for pair in pairs.tolist())
    for one in gone:
        partners = {sum(p) - one for p in pairs.tolist() if one in p}
        assert any(other < one and other not in gone for other in partners)


# ---- Sets of photos on disk


ALTERED = {
    "jpeg": (lambda p: p, 1.0),
    "half": (lambda p: p.resize((80, 60)), 1.0),
    "crop": (lambda p: p.crop((13, 10, 147, 110)), 0.84),  # 8% a side
    "up": (lambda p: ImageEnhance.Brightness(p).enhance(1.3), 1.0),
    "down": (lambda p: ImageEnhance.Brightness(p).enhance(0.7), 1.0),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twelve photos in class folders; of each one altered copy, twelve others, and odd files."""
    root = tmp_path_factory.mktemp("overlap")
    names = list(OBJECTS)[:6]
    for number, name in enumerate(itertools.islice(itertools.cycle(names), 24)):
        photo = Image.fromarray(draw(name, 100 + number, 160).image[20:140])
        if number < 12:
            save(photo, root / "a" / name / f"{number}.png")
            way = list(ALTERED)[number % len(ALTERED)]
            save(ALTERED[way][0](photo), root / "b" / f"{number}-{way}.jpg", quality=30)
        else:
            save(photo, root / "b" / "others" / f"{number}.jpg", quality=90)
    save(Image.new("RGB", (40, 40), "grey"), root / "b" / "others" / "plain.png")
    (root / "b" / "broken.jpg").write_bytes(b"no photo")
    (root / "b" / ".hidden.jpg").write_bytes(b"no photo")
    (root / "b" / "notes.txt").write_text("no photo")
    return root / "a", root / "b"


def save(photo: Image.Image, path: Path, **options: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    photo.save(path, **options)


def search(first: Path, second: Path, options: Options = DEFAULT) -> overlap_study.Overlap:
    return overlap_study.search(first, second, options, workers=1, progress=False)


def test_altered_copies_are_found_and_nothing_else(folders):
    found = search(*folders).found
    assert len(found["pairs"]) == 12
    for pair in found["pairs"]:
        number, way = Path(pair["b"]).stem.split("-")
        assert Path(pair["a"]).stem == number
        assert (pair["window_a"][0], pair["window_b"][0]) == (ALTERED[way][1], 1.0), pair
    assert set(found["exclude"]) == {f"{p.parent.name}/{p.name}" for p in folders[0].glob("*/*")}
    assert found["b"]["photos"] == 12 + 12 + 2
    assert found["b"]["without_contrast"] == ["others/plain.png"]
    assert found["b"]["unreadable"] == {"broken.jpg": "not a JPEG, PNG, WebP or BMP photo"}
    assert sum(found["best_scores"]) == found["b"]["photos"]


def test_a_set_with_itself_keeps_the_first_of_what_it_holds_twice(folders, tmp_path):
    photo = Image.open(next(folders[0].glob("*/0.png")))
    for name in ("c", "a", "b"):
        save(photo, tmp_path / f"{name}.png")
    save(Image.open(next(folders[0].glob("*/1.png"))), tmp_path / "d.png")
    found = search(tmp_path, tmp_path).found
    pairs = {(pair["a"], pair["b"]) for pair in found["pairs"]}
    assert pairs == {("a.png", "b.png"), ("a.png", "c.png"), ("b.png", "c.png")}
    assert found["exclude"] == ["b.png", "c.png"]


def test_a_prepared_split_has_the_keys_of_training(prepared_pictures, tmp_path):
    training = open_prepared(prepared_pictures, "train")
    for row in (3, 17):
        save(Image.fromarray(training.images[row]), tmp_path / f"{row}.jpg", quality=90)
    found = search(prepared_pictures / "train", tmp_path).found
    assert found["a"]["fingerprint"] == training.fingerprint
    assert set(found["exclude"]) >= {training.keys[3], training.keys[17]}
    best = {pair["b"]: pair["a"] for pair in reversed(found["pairs"])}
    assert best == {"3.jpg": training.keys[3], "17.jpg": training.keys[17]}


def test_what_is_no_set_of_photos_is_named(prepared_pictures, tmp_path):
    def opened(folder: Path) -> None:
        open_photo_set(folder, side=16, workers=1)

    with pytest.raises(FileNotFoundError, match="no folder"):
        opened(tmp_path / "none")
    with pytest.raises(ValueError, match="no photos"):
        opened(tmp_path)
    with pytest.raises(ValueError, match=f"name one of .*{prepared_pictures.name}/train"):
        opened(prepared_pictures)


def test_the_script_on_two_devices_leaves_all_three_files(folders, tmp_path):
    a, b = folders
    arguments = (f"{a}", f"{b}", f"--out={tmp_path / 'out'}", "--workers=1")
    (output,) = run_script("overlap", *arguments, devices=2)
    assert "12 photos against 26: read in" in output
    assert f"12 pairs at {DEFAULT.threshold:g} or more; 12 photos of {a} to exclude" in output
    pairs = json.loads((tmp_path / "out" / "pairs.json").read_text())
    here = json.loads(json.dumps(search(*folders).found))
    assert pairs == here
    excluded = json.loads((tmp_path / "out" / "exclude.json").read_text())
    assert excluded["keys"] == pairs["exclude"]
    assert (tmp_path / "out" / "index.html").read_text().count("<li>") == 12


def test_the_step_leaves_a_page_for_each_set_and_says_the_commands(
    tiny_run, prepared_pictures, tmp_path
):
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy, ignore=shutil.ignore_patterns("studies", "report"))
    folder = prepared_pictures / "train"
    others = {"twin": overlap_study.Other("the same pictures", folder)}
    step = overlap_study.step(Context(copy), others, "no other set")
    assert (step.missing, step.needs) == (None, ("data_twin",))
    made = step.make()
    out = copy / "report" / "overlap" / "twin"
    assert {out / name for name in ("pairs.json", "exclude.json", "index.html")} == set(made.files)
    assert made.notes[0].startswith("The same pictures: ")
    assert f"python -m scripts.overlap {folder} {folder} --out={out}" == step.commands[0]
    none = overlap_study.step(Context(copy), {}, "no other set")
    assert none.missing == "no other set"


# ---- The page


class Page(HTMLParser):
    """Tags and addresses of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for name, v in attributes if name in ("src", "href")]
        assert not [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


EVIL = "<script>alert(1)</script>\" onerror='x'&amp;.jpg"


def a_find(count: int) -> dict:
    one = {"photos": 9, "fingerprint": "f<i>", "without_contrast": [], "unreadable": {}}
    windows = ((1.0, 0.5, 0.5), (0.92, 0.0, 1.0))
    return {
        "threshold": 0.83,
        "within": False,
        "versions": {"jax": "1"},
        "a": one | {"folder": "one <b>"},
        "b": one | {"folder": "x/$two", "unreadable": {"x": "y"}},
        "best_scores": [1] * 50,
        "exclude": [EVIL],
        "pairs": [
            {"a": EVIL, "b": f"{n}.jpg", "score": 0.9 + n / 1e5, "window_a": w, "window_b": w}
            for n, w in zip(range(count), itertools.cycle(windows))
        ],
    }


def test_the_page_loads_nothing_and_takes_names_as_text(tmp_path):
    photo = np.indices((64, 64)).sum(axis=0)[..., None].repeat(3, 2).astype(np.uint8)
    overlap_page.write_page(tmp_path / "p.html", a_find(2), lambda _: photo, lambda _: photo)
    page = Page((tmp_path / "p.html").read_text())
    assert "script" not in page.tags
    assert "link" in page.tags
    assert page.tags.count("b") == 2  # the scores
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.text.count(EVIL) == 2
    assert page.text.count("Photos in both one <b> and x/$two") == 2  # title and heading
    assert "Of x/$two, 1 photo is unreadable." in page.text
    assert len(page.addresses) == 1 + 4
    shown = Image.open(io.BytesIO(bytes_of(page.addresses[1])))
    assert shown.size == (64, 64)
    assert np.abs(np.asarray(shown, int) - photo).mean() < 6


def bytes_of(address: str) -> bytes:
    return base64.b64decode(address.split(",", 1)[1])


def test_a_page_of_many_pairs_shows_the_least_certain_and_is_whole_or_not_there(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(overlap_page, "SHOWN", 3)
    photo = np.zeros((8, 8, 3), np.uint8)
    path = tmp_path / "p.html"
    overlap_page.write_page(path, a_find(5), lambda _: photo, lambda _: photo)
    page = Page(path.read_text())
    assert page.tags.count("li") == 3
    assert "0.jpg" in page.text
    assert "3.jpg" not in page.text
    assert "The 2 surest pairs are only in pairs.json." in page.text

    def gone(_: str) -> np.ndarray:
        raise OSError("gone")

    before = path.read_bytes()
    with pytest.raises(OSError, match="gone"):
        overlap_page.write_page(path, a_find(5), lambda _: photo, gone)
    assert path.read_bytes() == before
    overlap_page.write_page(path, a_find(0), lambda _: photo, gone)
    assert "No pairs" in Page(path.read_text()).text


# ---- What training leaves out


@pytest.fixture
def data(prepared_pictures, tmp_path):
    config = tiny(quickstart.get_config(), prepared_pictures)
    config.data.exclude = str(tmp_path / "exclude.json")
    return config.data


def write_keys(data, keys: list[str]) -> None:
    Path(data.exclude).write_text(json.dumps({"keys": keys}))


def test_excluded_pictures_are_not_in_the_training_split(data, prepared_pictures):
    whole = open_prepared(prepared_pictures, "train")
    gone = [0, 5, 69]
    write_keys(data, [whole.keys[row] for row in reversed(gone)])
    less = open_split(data, "train")
    rest = np.delete(np.arange(70), gone)
    assert len(less) == 67
    assert less.left_out == 3
    assert less.keys == tuple(whole.keys[row] for row in rest)
    np.testing.assert_array_equal(less.labels, whole.labels[rest])
    np.testing.assert_array_equal(less.rows(np.array([66, 0, 3])), whole.images[rest[[66, 0, 3]]])
    np.testing.assert_array_equal(less.mean, whole.mean)
    assert less.fingerprint.startswith(f"{whole.fingerprint}-less-3-")
    validation = open_split(data, "validation")
    assert validation.fingerprint == open_prepared(prepared_pictures, "validation").fingerprint

    write_keys(data, [whole.keys[row] for row in gone])
    assert open_split(data, "train").fingerprint == less.fingerprint  # in whatever order
    write_keys(data, [whole.keys[row] for row in (0, 5, 68)])
    assert open_split(data, "train").fingerprint != less.fingerprint
    write_keys(data, [])
    assert open_split(data, "train").fingerprint == whole.fingerprint
    del data.exclude  # as in the config of an earlier run
    assert open_split(data, "train").fingerprint == whole.fingerprint


def test_a_streamed_split_leaves_out_the_same(data, prepared_pictures, tmp_path):
    keys = open_prepared(prepared_pictures, "train").keys
    write_keys(data, [keys[1], keys[30]])
    prepared = open_split(data, "train")
    data.prepared_dir, data.streaming = str(tmp_path / "index"), True
    prepare(data, workers=1, store_images=False, overwrite=False, progress=False)
    streamed = open_split(data, "train")
    assert (streamed.fingerprint, streamed.keys) == (prepared.fingerprint, prepared.keys)
    rows = np.array([0, 1, 2, 40])
    np.testing.assert_array_equal(streamed.rows(rows), prepared.rows(rows))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"keys": ["cat/none.jpg", "x"]}', r"names 2 .* has not 2: cat/none\.jpg, x\. Was it"),
        ('{"keys": "cat"}', "is no exclusion file"),
        ('["cat"]', "is no exclusion file"),
        ("cat", "is no exclusion file"),
        (None, "config.data.exclude: no file"),
    ],
)
def test_a_wrong_exclusion_file_is_an_error(data, text, message):
    if text is not None:
        Path(data.exclude).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_split(data, "train")


def test_excluding_everything_is_an_error(split, tmp_path):
    (tmp_path / "all.json").write_text(json.dumps({"keys": list(split.keys)}))
    with pytest.raises(ValueError, match="leaves no training picture"):
        exclude(split, tmp_path / "all.json")


def test_training_honours_an_exclusion_and_the_run_is_another(data, tiny_config, tmp_path):
    whole = open_prepared(data.prepared_dir, "train")
    tiny_config.data = data
    write_keys(data, ["not/there"])
    with pytest.raises(ValueError, match="has not 1: not/there"):
        train.train_and_evaluate(tiny_config, tmp_path / "run")
    assert not (tmp_path / "run").exists()

    write_keys(data, list(whole.keys[:3]))
    splits = open_split(data, "train"), open_split(data, "validation")
    workdir.claim(tmp_path / "run", tiny_config, *splits)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["images"]["train"] == 67
    assert "-less-3-" in record["data"]["train"]
    with pytest.raises(ValueError, match=r"the data are .*-less-3-"):
        workdir.claim(tmp_path / "run", tiny_config, whole, splits[1])


def test_the_check_finds_altered_copies(tmp_path):
    for number, name in enumerate(OBJECTS[:4]):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for seed in range(3):
            picture = Image.fromarray(draw(name, 10 * number + seed, 120).image)
            picture.save(tmp_path / "photos" / name / f"{seed}.png")
    (output,) = run_script(
        "overlap_check",
        f"--photos={tmp_path / 'photos'}",
        "--photos_classes=even",
        f"--unrelated={tmp_path / 'photos'}",
        "--unrelated_classes=odd",
        "--most=5",
        "--workers=1",
        f"--out={tmp_path / 'out'}",
    )
    (default,) = [line.split() for line in output.splitlines() if "the default" in line]
    assert float(default[2]) > 0.9  # recall
