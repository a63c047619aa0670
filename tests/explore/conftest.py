"""A small net behind the page, asked in this process; nothing is warmed up."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="starlette is not installed (zfnet_jax[explore])")
pytest.importorskip("uvicorn", reason="uvicorn is not installed (zfnet_jax[explore])")

from starlette.testclient import TestClient

from tests.conftest import copied
from tests.mined_folder import write_mined
from zfnet_jax.data.pictures import draw
from zfnet_jax.explore.nets import Nets, open_folder
from zfnet_jax.explore.server import Server
from zfnet_jax.runs.run import Run, open_run

HOST = "http://127.0.0.1:8080"

Get = Callable[..., Any]  # a path and what is asked for -> what was answered, JSON or a picture


def png(pixels: np.ndarray, kind: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def getter(client: TestClient) -> Get:
    """Asks, and fails unless there is an answer."""

    def get(path: str, **asked: Any) -> Any:
        answer = client.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        is_json = answer.headers["content-type"] == "application/json"
        return answer.json() if is_json else answer.content

    return get


@pytest.fixture(scope="session")
def workdir(shallow_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two layers of maps, the first of which is mined."""
    folder = copied(shallow_run, tmp_path_factory.mktemp("explore") / "a run")
    run = open_run(folder)
    rows = np.arange(8 * 3).reshape(8, 3) % 30
    rows[5, 1:] = -1
    mined = folder / "studies" / "features" / "validation-x"
    write_mined(mined, images={"conv1": rows}, step=run.step, k=3)
    return folder


@pytest.fixture(scope="session")
def run(workdir: Path) -> Run:
    return open_run(workdir)


@pytest.fixture(scope="module")
def server(workdir: Path) -> Server:
    return Server(Nets([open_folder(workdir)]), warm=False)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(server.app, base_url=HOST) as started:
        yield started


@pytest.fixture(scope="module")
def get(client: TestClient) -> Get:
    return getter(client)


@pytest.fixture(scope="session")
def face() -> np.ndarray:
    """A photo as nets of 64 pixels are shown it."""
    return draw("face", 3, 64).image


@pytest.fixture(scope="module")
def photo(client: TestClient, face: np.ndarray) -> str:
    return client.post("/api/photos", content=png(face)).json()["photo"]
