"""The package: what is listed is what is imported, and a wheel works without the checkout."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.conftest import OVERRIDES, ROOT, SHALLOW
from zfnet_jax import entry
from zfnet_jax.command import shell
from zfnet_jax.data.sources import make_source
from zfnet_jax.studies import options

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[\w.-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match}


def imports(node: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Modules that a file imports, and whether in a function or where their absence is caught."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    lazy = lazy or isinstance(node, (ast.FunctionDef, ast.Try))
    if isinstance(node, ast.Import):
        yield from ((alias.name, lazy) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module, lazy
    for child in ast.iter_child_nodes(node):
        yield from imports(child, lazy)


def test_what_is_imported_is_listed():
    """At import time the dependencies alone, in functions those of the extras too."""
    distributions = metadata.packages_distributions()
    dependencies = names(PROJECT["dependencies"])
    extras = ("tfds", "slurm", "import", "explore", "jpeg")
    optional = {name for extra in extras for name in names(EXTRAS[extra])}
    unlisted = set()
    for path in [*(ROOT / "zfnet_jax").rglob("*.py"), *(ROOT / "configs").glob("*.py")]:
        for module, lazy in imports(ast.parse(path.read_text(encoding="utf-8"))):
            package = module.partition(".")[0]
            if package in sys.stdlib_module_names or package in ("zfnet_jax", "configs"):
                continue
            allowed = dependencies | optional if lazy else dependencies
            if not names(distributions.get(package, [package])) & allowed:
                unlisted.add((str(path.relative_to(ROOT)), module))
    assert not unlisted


def test_tests_of_what_need_not_be_installed_skip():
    """A test file imports what scripts/test.sh does not install only after pytest.importorskip."""
    distributions = metadata.packages_distributions()
    there = names(PROJECT["dependencies"])
    there |= {name for extra in ("test", "tfds", "slurm") for name in names(EXTRAS[extra])}
    absent = {name for extra in ("import", "bench") for name in names(EXTRAS[extra])} - there
    unguarded = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        for module, lazy in imports(ast.parse(text)):
            package = module.partition(".")[0]
            needed = names(distributions.get(package, [package])) & absent
            if needed and not lazy and f'pytest.importorskip("{package}"' not in text:
                unguarded.add((str(path.relative_to(ROOT)), module))
    assert not unguarded


def test_requirements_are_no_second_list():
    assert [path.name for path in ROOT.glob("requirements*")] == ["requirements.txt"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["-e ."]


WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
from pathlib import Path

class Fewer:
    "Finds what a finder finds, but for the absent packages."
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {absent}:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Fewer, sys.meta_path)
import zfnet_jax
from configs import quickstart
from zfnet_jax.training import train
from zfnet_jax.data.prepare import prepare

for module in pkgutil.walk_packages(zfnet_jax.__path__, "zfnet_jax."):
    if module.name not in (
        "zfnet_jax.__main__", "zfnet_jax.sweep.slurm", "zfnet_jax.explore.server"
    ):
        importlib.import_module(module.name)
recipe = quickstart.get_config()
recipe.update_from_flattened_dict({photos})
prepare(recipe.data, workers=1, store_images=True, overwrite=False)
recipe = quickstart.get_config()
recipe.update_from_flattened_dict({fields})
train.train_and_evaluate(recipe, Path("run"))
pixels = zfnet_jax.project(zfnet_jax.open_run("run"), "train/a/000.png", "conv5")
assert zfnet_jax.picture(pixels).mode == "RGB"
"""


@pytest.mark.slow
def test_training_and_looking_need_no_extra(folder_data, prepared_pictures, tmp_path):
    """Photos from folders, a training and a projection, with the packages of all extras absent."""
    wanted = {name for extra in EXTRAS.values() for name in names(extra)}
    carried = metadata.packages_distributions().items()
    absent = {package for package, by in carried if names(by) & wanted}
    assert {"pytest", "hypothesis"} <= absent
    photos = {f"data.folder.{name}": value for name, value in folder_data.folder.items()}
    photos |= {"data.source": "folder", "data.prepared_dir": "photos"}
    fields = OVERRIDES | SHALLOW | {"epochs": 1, "data.prepared_dir": str(prepared_pictures)}
    done = python(
        "-c",
        WITHOUT_EXTRAS.format(absent=absent, photos=photos, fields=fields),
        cwd=tmp_path,
        path=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_missing_package_names_its_extra(folder_data, monkeypatch):
    """Those of the extra `import` are in test_import_damage.py."""
    folder_data.source = "tfds"
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match=r'not installed: pip install "zfnet_jax\[tfds]"'):
        make_source(folder_data, "train")
    monkeypatch.setitem(sys.modules, "submitit", None)
    monkeypatch.delitem(sys.modules, "zfnet_jax.sweep.slurm", raising=False)
    with pytest.raises(ValueError, match=r'not installed: pip install "zfnet_jax\[slurm]"'):
        importlib.import_module("zfnet_jax.sweep.slurm")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "zfnet_jax.explore.server", raising=False)
    with pytest.raises(ValueError, match=r'not installed: pip install "zfnet_jax\[explore]"'):
        importlib.import_module("zfnet_jax.explore.server")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but what a wheel of the checkout holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_holds_every_file(site):
    def files(folder: Path) -> set[str]:
        paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {str(path) for path in paths if "__pycache__" not in path.parts}

    expected = files(ROOT / "zfnet_jax")
    for folder in ("scripts", "configs"):
        held = {f"programs/{folder}/{name}" for name in files(ROOT / folder)}
        expected |= {name for name in held if not name.endswith(".sh")}
    assert files(site / "zfnet_jax") == expected
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"zfnet_jax"}
    (points,) = site.glob("*.dist-info/entry_points.txt")
    assert "zfnet-jax = zfnet_jax.entry:main" in points.read_text(encoding="utf-8")


SWEEP = """
from configs import quickstart

def get_config():
    return quickstart.get_config()

def sweep(add):
    add("only", {"seed": 1})
"""


@pytest.mark.slow
def test_scripts_run_from_another_folder(site, prepared_pictures, tmp_path):
    """Installed configs are found, the folder's own come first, its scripts/ is no concern."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "__init__.py").write_text("raise ImportError('not ours')")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "mine.py").write_text(SWEEP)

    def script(*arguments: str) -> subprocess.CompletedProcess:
        return python("-m", "zfnet_jax", *arguments, cwd=tmp_path, path=site)

    listed = script("--help").stdout
    assert re.search(r"^  train +Trains a net from a config file\.$", listed, flags=re.MULTILINE)
    assert "shell" not in listed
    wrong = script("trian")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: no script 'trian'")

    no_photos = script("prepare_data", "--config=configs/imagenette.py:full")
    assert "config.data.folder.train is empty" in no_photos.stderr

    fields = OVERRIDES | SHALLOW | {"epochs": 1, "data.prepared_dir": str(prepared_pictures)}
    flags = [f"--config.{field}={value}" for field, value in fields.items()]
    done = script("sweep", "--config=configs/mine.py", "--workdir=runs", *flags)
    assert "1 of 1 runs are finished" in done.stdout, done.stderr
    assert (tmp_path / "runs" / "only" / "config.json").exists()


def python(*arguments: str, cwd: Path, path: Path) -> subprocess.CompletedProcess:
    """Python in another folder, with the package of the folder `path`."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_package_tells_the_commands_that_it_has(monkeypatch, capsys):
    message = "no winners: run python -m scripts.mine first"
    shell.fail(message)
    monkeypatch.setattr(entry, "HOME", entry._INSTALLED)
    shell.fail(message)
    said = "error: no winners: run python -m scripts.mine first\nerror: no winners: run zfnet-jax"
    assert capsys.readouterr().err == f"{said} mine first\n"
    assert options.command("mine", "--workdir=a b") == "zfnet-jax mine '--workdir=a b'"
