"""What several test files share: a tiny data set, a tiny config, and a run trained on them."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jax
import pytest
from ml_collections import ConfigDict

from configs import quickstart
from tests import forked, photo_folders, shared_programs
from tests.photo_folders import save_photos
from tests.quick_compiler import use_quick_compiler
from zfnet_jax.data.prepare import prepare
from zfnet_jax.data.prepared import PreparedSplit, open_prepared
from zfnet_jax.report.mosaic import filter_mosaic
from zfnet_jax.runs.run import Run, open_run
from zfnet_jax.training import train

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = forked.ROOT

use_quick_compiler()  # before the first program

# Tracing makes many small objects: Python would look through all that was imported again and again.
GARBAGE = (50_000, 20, 100)

# Files with tests that take tens of seconds.
DEAREST = (
    "test_distributed.py",
    "test_extending.py",
    "test_faults.py",
    "test_passes.py",
    "test_reproduce.py",
    "test_slurm.py",
    "test_sweep.py",
)

MOST_MAPPINGS = 10_000  # after a test file; Linux allows 65,530

MIN_SECONDS = 0.1  # what compiles faster is not worth a file

# Of headless Chromium.
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # pages must need no network
    "--window-size=1400,900",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The dearest first, so that all workers end together."""
    items.sort(key=lambda item: item.path.name not in DEAREST)


def pytest_collection_finish() -> None:
    """What is there by now stays: the garbage collector need not look at it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiles each program once: many tests start the same training anew."""
    folder = str(tmp_path_factory.getbasetemp().parent / "compilation_cache")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS)
    # For the processes that tests start. Without a limit of its size JAX need not lock it.
    started = {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(MIN_SECONDS),
        "JAX_COMPILATION_CACHE_MAX_SIZE": "-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in started.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def programs() -> Iterator[shared_programs.Programs]:
    """Those of trainings, which all tests of a process share."""
    with pytest.MonkeyPatch.context() as patch:
        yield shared_programs.share(patch)


@pytest.fixture(scope="module", autouse=True)
def programs_are_let_go(programs: shared_programs.Programs) -> Iterator[None]:
    """Drops compiled programs between test files, where there are many: each maps memory, and with
    those of all files a process reaches the system's limit of mappings (vm.max_map_count) and
    crashes."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MOST_MAPPINGS:
        programs.clear()
        jax.clear_caches()


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless Chromium that reaches this machine alone; skips where none is installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no Chromium with its chromedriver is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path=driver)
    with webdriver.Chrome(options=options, service=service) as started:
        yield started


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of photo sets that ZFNET_PHOTOS names."""
    if "ZFNET_PHOTOS" not in os.environ:
        pytest.skip("ZFNET_PHOTOS does not name a folder of photo sets")
    return Path(os.environ["ZFNET_PHOTOS"])


@pytest.fixture
def folder_data(tmp_path: Path) -> ConfigDict:
    """The data of a config: two small folders of photos of two classes, not prepared yet."""
    save_photos(tmp_path / "train", {"b": 5, "a": 4}, seed=1)
    save_photos(tmp_path / "validation", {"a": 1, "b": 2}, seed=2)
    return photo_folders.config(tmp_path)


@pytest.fixture(scope="session")
def prepared_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 training and 30 validation pictures of the built-in objects, 64 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    data = quickstart.get_config().data
    data.image_size, data.prepared_dir = 64, str(folder)
    data.pictures.train_per_class, data.pictures.validation_per_class = 7, 3
    prepare(data, workers=1, store_images=True, overwrite=False)
    return folder


@pytest.fixture
def tiny_config(prepared_pictures: Path) -> ConfigDict:
    """The quickstart's config with a net so narrow that an epoch of 4 steps takes a moment.

    Dropout and random crops are on.
    """
    return tiny(quickstart.get_config(), prepared_pictures)


@pytest.fixture(scope="session")
def tiny_run(deep_run: Path) -> Path:
    """The folder of a run of `tiny_config`, trained to its end. In some rooms it is shallow."""
    return deep_run


@pytest.fixture(scope="session")
def deep_run(prepared_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `tiny_run` of all five layers of maps."""
    workdir = tmp_path_factory.mktemp("tiny_run")
    recipe = tiny(quickstart.get_config(), prepared_pictures)
    train.train_and_evaluate(recipe, workdir, filters_picture=filter_mosaic)
    return workdir


@pytest.fixture(scope="session")
def maps_run(prepared_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an imported net whose last maps are the scores of `prepared_pictures`' classes,
    see `without_dense`."""
    return _imported("maps", prepared_pictures, tmp_path_factory)


@pytest.fixture(scope="session")
def trunk_run(prepared_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an imported net without a classifier."""
    return _imported("trunk", prepared_pictures, tmp_path_factory)


def _imported(
    kind: Literal["maps", "trunk"], prepared_dir: Path, factory: pytest.TempPathFactory
) -> Path:
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed (zfnet_jax[import])")
    from tests import without_dense

    return without_dense.import_run(kind, factory.mktemp(kind), prepared_dir)


# The first and the last layer of maps: programs of half the size, which compile in half the time.
SHALLOW = {"model.layers": ("conv1", "conv5")}


@pytest.fixture
def shallow_config(tiny_config: ConfigDict) -> ConfigDict:
    """`tiny_config` with two layers of maps, for what does not depend on how many there are."""
    tiny_config.update_from_flattened_dict(SHALLOW)
    return tiny_config


@pytest.fixture(scope="session")
def shallow_run(prepared_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `shallow_config`, trained to its end."""
    workdir = tmp_path_factory.mktemp("shallow_run")
    recipe = tiny(quickstart.get_config(), prepared_pictures)
    recipe.update_from_flattened_dict(SHALLOW)
    train.train_and_evaluate(recipe, workdir, filters_picture=filter_mosaic)
    return workdir


def copied(tiny_run: Path, folder: Path) -> Path:
    """The run in a folder of its own, without what studies and reports have left in it."""
    ignore = shutil.ignore_patterns("studies", "report")
    return Path(shutil.copytree(tiny_run, folder, ignore=ignore))


@pytest.fixture(scope="session")
def run(tiny_run: Path) -> Run:
    """`tiny_run`, opened."""
    return open_run(tiny_run)


@pytest.fixture(scope="session")
def split(prepared_pictures: Path) -> PreparedSplit:
    """The 30 validation pictures of `prepared_pictures`."""
    return open_prepared(prepared_pictures, "validation")


OVERRIDES = quickstart.TINY | {"epochs": 3}


def tiny(config: ConfigDict, prepared_dir: Path) -> ConfigDict:
    """Shrinks the quickstart's config."""
    config.update_from_flattened_dict(OVERRIDES | {"data.prepared_dir": str(prepared_dir)})
    return config


def start_training(
    workdir: Path, prepared_dir: Path, *arguments: str, devices: int = 1
) -> forked.Popen:
    """Starts scripts.train in a process of its own, with simulated CPU devices."""
    overrides = OVERRIDES | {"data.prepared_dir": str(prepared_dir)}
    fields = (f"--config.{field}={value}" for field, value in overrides.items())
    config = ("--config=configs/quickstart.py", *fields, f"--workdir={workdir}")
    return start_script("train", *config, *arguments, devices=devices, stderr=subprocess.STDOUT)


def start_script(
    name: str, *arguments: str, devices: int = 1, stderr: int = subprocess.PIPE
) -> forked.Popen:
    """Starts a script in a process of its own, with simulated CPU devices."""
    command = [sys.executable, "-m", f"scripts.{name}", *arguments]
    return forked.Popen(command, env=os.environ | simulated(devices), stderr=stderr)


def simulated(devices: int) -> dict[str, str]:
    """The environment of a process that sees so many CPU devices."""
    flags = os.environ["XLA_FLAGS"] + f" --xla_force_host_platform_device_count={devices}"
    return {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


def run_script(name: str, *arguments: str, devices: int = 1, processes: int = 1) -> list[str]:
    """Runs a script on `devices` simulated devices in each of some processes that work together;
    what each process prints. Fails the test unless all end well."""
    together: list[str] = []
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        together = [f"--coordinator=127.0.0.1:{port}", f"--processes={processes}"]
    own = [[f"--process={number}"] if together else [] for number in range(processes)]
    started = [
        start_script(name, *arguments, *together, *number, devices=devices) for number in own
    ]
    outputs = [process.communicate(timeout=300) for process in started]
    assert all(process.returncode == 0 for process in started), outputs
    return [output for output, _ in outputs]


def finish(process: forked.Popen) -> str:
    """Waits for a started training; its output. Fails the test unless it ended well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    return output
