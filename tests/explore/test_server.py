"""Who may ask, several at once, what is asked wrongly, and nets of other kinds."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import signal
import socket
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

import zfnet_jax
from tests import forked
from tests.conftest import start_script
from tests.explore.conftest import HOST, getter, picture, png
from zfnet_jax.data.pictures import draw
from zfnet_jax.explore import explorer, seen
from zfnet_jax.explore import server as server_module
from zfnet_jax.explore.errors import SlowError
from zfnet_jax.explore.guard import Guard, is_loopback
from zfnet_jax.explore.kept import Kept
from zfnet_jax.explore.nets import Nets, open_folder
from zfnet_jax.explore.server import Server
from zfnet_jax.runs.run import open_run


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"host": "evil.example:8080"}, "no name of this machine's loopback: 'evil.example:8080'"),
        ({"host": "127.0.0.1.evil.example"}, "no name of this machine's loopback"),
        ({"host": "[::1"}, "no name of this machine's loopback"),
        ({"origin": "http://evil.example"}, "another site asks: 'http://evil.example'"),
        ({"origin": "null"}, "another site asks"),
        ({"origin": "http://127.0.0.1:9999"}, "another site asks"),
        ({"sec-fetch-site": "cross-site"}, "another site asks"),
        ({"sec-fetch-site": "same-site"}, "another site asks"),
    ],
)
def test_another_site_is_turned_away(client, headers, error):
    for answer in (
        client.get("/api/nets", headers=headers),
        client.post("/api/photos", content=b"", headers=headers),
    ):
        assert answer.status_code == 403
        assert error in answer.json()["error"]


def test_the_page_and_its_own_requests_are_let_in(client):
    own = {"origin": HOST, "sec-fetch-site": "same-origin"}
    assert client.get("/api/progress", headers=own).json() == {"doing": None, "waiting": 0}
    for host in ("localhost:8080", "[::1]:8080", "127.0.0.1"):
        assert client.get("/api/progress", headers={"host": host}).status_code == 200
    answer = client.get("/api/progress")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    alone = TestClient(Guard(anything, None), base_url=HOST)
    link = alone.get("/", headers={"sec-fetch-site": "cross-site"})  # a link in another page
    assert link.text == "in"


async def anything(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"in"})


def test_others_need_the_token():
    visitor = TestClient(Guard(anything, "a-token"), base_url="http://machine:8080")
    for path in ("/", "/api/nets", "/?token=a-toke", "/?token=%C3%A9"):
        answer = visitor.get(path, follow_redirects=False)
        assert answer.status_code == 401
        assert "open the link that scripts.explore has printed" in answer.json()["error"]
    visitor.cookies.set("explore_00000000", "a-token")
    assert visitor.get("/api/nets").status_code == 401
    answer = visitor.get("/?token=a-token", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert visitor.get("/api/nets").text == "in"
    assert visitor.get("/api/nets", headers={"origin": "http://evil"}).status_code == 403


def test_loopback():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "localhost.evil", "evil")))


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/answer", 400, "photo is missing"),
        ("/api/answer?photo=x", 404, "photo x is not here any more: send it again"),
        ("/api/answer?photo={photo}&run=1", 404, "there are runs 0 to 0, not 1"),
        ("/api/answer?photo={photo}&step=5", 404, "a run has no step 5, only 4, 8, 12"),
        ("/api/answer?photo={photo}&step=new", 400, "step must be a whole number, not 'new'"),
        ("/api/strip?photo={photo}&layer=conv9", 400, "no layer 'conv9': the net has conv1"),
        ("/api/unit?photo={photo}&layer=conv1&map=8", 400, "conv1 has maps 0 to 7, not 8"),
        ("/api/unit?photo={photo}&layer=conv1&map=-1", 400, "conv1 has maps 0 to 7, not -1"),
        (
            "/api/unit?photo={photo}&layer=conv1&map=1&row=99&column=0",
            400,
            "conv1 has units 0 to 25 by 0 to 25, not 99, 0",
        ),
        (
            "/api/unit.png?photo={photo}&layer=conv1&map=1&rule=none",
            400,
            "rule must be one of deconvnet, forward_mask, guided",
        ),
        (
            "/api/square?photo={photo}&layer=conv1&map=1&y=0&x=0&size=57",
            400,
            "a square has 1 to 56 pixels, not 57",
        ),
        ("/api/place?photo={photo}&layer=conv1&y=0&x=1e999", 400, "x must be a whole number"),
        (f"/api/place?photo={{photo}}&layer=conv1&y=0&x={10**40}", 400, "x must be a whole"),
        ("/api/winners.png?layer=conv5&map=0", 404, "nothing is mined of conv5"),
        ("/api/samples/-1", 404, "Not Found"),
        ("/page/nix.js", 404, "there is no file 'nix.js'"),
        ("/page/..%2fserver.py", 404, ""),
        ("/nix", 404, "Not Found"),
    ],
)
def test_a_wrong_request_is_one_line(path, status, error, client, photo):
    answer = client.get(path.format(photo=photo))
    assert answer.status_code == status
    assert error in answer.json()["error"]


def test_a_wrong_occlusion_and_a_wrong_view_are_one_line(client, photo):
    asked = {"photo": photo, "layer": "conv5", "map": 0, "size": 57}
    answer = client.get("/api/occlusion", params=asked)
    assert "a square of 57 pixels is larger than the 56" in answer.text
    for body in (b"", b"[]", b"{", b'{"photo": "x", "square": 3}', b"x" * 20_000):
        answer = client.post("/api/views", content=body)
        assert answer.status_code in (400, 413)
        assert answer.json()["error"]


def test_what_comes_too_slowly_is_given_up(monkeypatch):
    async def receive():
        await asyncio.sleep(0 if (first := next(calls)) else 60)
        return {"type": "http.request", "body": b"abc", "more_body": first}

    calls = iter((True, False))
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.05)
    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(
        SlowError, match=r"only 3 bytes have come in 0\.05 s: send it again"
    ) as told:
        asyncio.run(server_module._body(request, 10, ""))
    assert told.value.status == 408


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(5, "Input/output error"), "[Errno 5] Input/output"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_an_occlusion_map_that_fails_says_so(error, line, client, photo, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr(seen, "occlusion", fails)
    asked = {"photo": photo, "layer": "conv5", "map": 0}
    assert line in json.loads(client.get("/api/occlusion", params=asked).text[6:])["error"]


def test_five_at_once_get_each_their_own_answers(workdir):
    """Photos, checkpoints and layers of all are asked for in turn, in other orders."""
    pictures = [draw(name, 7, 64).image for name in ("face", "cat", "fish", "car", "house")]
    asked = [(n, step, layer) for n in range(5) for step in (4, 12) for layer in ("conv1", "conv5")]
    runs = {step: open_run(workdir, step) for step in (4, 12)}
    with TestClient(Server(Nets([open_folder(workdir)]), warm=False).app, base_url=HOST) as client:

        def person(seed: int) -> list[tuple[tuple[int, int, str], float, list[float], int]]:
            found = []
            for place in np.random.default_rng(seed).permutation(len(asked)):
                n, step, layer = asked[place]
                sent = client.post("/api/photos", content=png(pictures[n])).json()["photo"]
                seen = {"photo": sent, "step": step}
                get = getter(client)
                answer = get("/api/answer", **seen)["classes"][0]
                maps = get("/api/strip", **seen, layer=layer)["maps"]
                unit = get("/api/unit", **seen, layer=layer, map=maps[0]["map"])
                assert unit["value"] == maps[0]["value"]
                values = [one["value"] for one in maps]
                found.append((asked[place], answer["probability"], values, answer["class"]))
            return found

        with ThreadPoolExecutor(5) as people:
            found = [one for person_found in people.map(person, range(5)) for one in person_found]
    assert len(found) == 5 * len(asked)
    for (n, step, layer), probability, values, label in found:
        logits, activations = runs[step].forward(runs[step].inputs(pictures[n][None]))
        expected = np.asarray(jax.nn.softmax(logits[0]))
        assert probability == expected.max()
        assert label == expected.argmax()
        np.testing.assert_array_equal(
            values, -np.sort(-np.asarray(activations[layer]).max(axis=(0, 1, 2)))
        )


def test_activations_are_few_in_memory(workdir, monkeypatch):
    monkeypatch.setattr(explorer, "SEEN_BYTES", 300_000)
    server = Server(Nets([open_folder(workdir)]), warm=False)
    with TestClient(server.app, base_url=HOST) as client:
        for seed in range(12):
            body = png(draw("cat", seed, 64).image)
            sent = client.post("/api/photos", content=body).json()["photo"]
            assert client.get("/api/answer", params={"photo": sent}).status_code == 200
        kept = server.explorer._seen
        assert 0 < kept.bytes <= 300_000
        assert 1 < len(kept) < 12


def test_what_is_kept_is_what_was_used_last():
    kept: Kept[str, bytes] = Kept(10, len)
    kept.put("a", b"123")
    kept.put("b", b"123")
    assert kept.get("a") == b"123"
    kept.put("c", b"12345")
    assert (kept.get("b"), kept.get("a"), kept.bytes) == (None, b"123", 8)
    kept.put("c", b"1")
    assert kept.bytes == 4
    kept.put("d", b"1" * 99)
    assert (len(kept), kept.get("d")) == (1, b"1" * 99)


def test_a_net_without_a_classifier(trunk_run, face):
    with TestClient(
        Server(Nets([open_folder(trunk_run)]), warm=False).app, base_url=HOST
    ) as client:
        get = getter(client)
        (net,) = get("/api/nets")["nets"]
        assert net["classes"] is None
        sent = client.post("/api/photos", content=png(face)).json()["photo"]
        asked = {"photo": sent, "layer": "conv2", "map": 1}
        assert get("/api/answer", photo=sent) == {"classes": None}
        square = get("/api/square", **asked, y=0, x=0, size=20)
        assert (square["classes"], square["label"]) == (None, None)
        shown = client.get("/api/occlusion", params={**asked, "stride": 20}).text
        begun, part, *_ = (json.loads(one[6:]) for one in shown.split("\n\n") if one)
        assert begun["begin"]["label"] is None
        assert (part["probability"], part["class"]) == (None, None)
        assert part["activity"]
        view = {**asked, "square": {"y": 0, "x": 0, "size": 9}}
        name = client.post("/api/views", json=view).json()["view"]
        assert get(f"/api/views/{name}")["answer"] is None


def test_oblong_crops_and_windows(prepared_pictures, split, face, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")
    import onnx

    from tests import onnx_chains
    from tests.studies import test_oblong as oblong

    onnx.save(onnx_chains.build(oblong.CHAIN, oblong.SIDES), tmp_path / "net.onnx")
    (tmp_path / "names").write_text("\n".join(split.class_names))
    names = {"image_size": 64, "class_names": tmp_path / "names"}
    options = dataclasses.replace(oblong.OPTIONS, **names)
    there = {"prepared_dir": str(prepared_pictures)}
    run = oblong.imported(tmp_path / "net.onnx", tmp_path / "run", options, **there)
    folder = open_folder(run.directory)
    with TestClient(Server(Nets([folder]), warm=False).app, base_url=HOST) as client:
        get = getter(client)
        (net,) = get("/api/nets")["nets"]
        assert net["crop"] == list(oblong.SIDES)
        sent = client.post("/api/photos", content=png(face)).json()["photo"]
        assert picture(get("/api/photo.png", photo=sent)).shape == (*oblong.SIDES, 3)
        asked = {"photo": sent, "layer": "conv2", "map": 2}
        whole = picture(get("/api/unit.png", **asked, whole=1)).astype(int)
        drawn = np.asarray(zfnet_jax.picture(zfnet_jax.project(run, face, "conv2", 2)))
        assert whole.shape == drawn.shape
        assert np.abs(whole - drawn).max() <= 1
        place = get("/api/place", photo=sent, layer="conv2", y=39, x=55)
        (layer,) = (one for one in net["layers"] if one["name"] == "conv2")
        assert (place["row"], place["column"]) == (layer["rows"] - 1, layer["columns"] - 1)
        square = get("/api/square", **asked, y=99, x=99, size=10)
        assert (square["y"], square["x"]) == (30, 46)


def test_two_runs_side_by_side(workdir, trunk_run, face):
    with TestClient(
        Server(Nets([open_folder(workdir), open_folder(trunk_run)]), warm=False).app, base_url=HOST
    ) as client:
        get = getter(client)
        assert [net["run"] for net in get("/api/nets")["nets"]] == [0, 1]
        sent = client.post("/api/photos", content=png(face)).json()["photo"]
        shapes = [picture(get("/api/photo.png", photo=sent, run=n)).shape for n in (0, 1)]
        assert shapes == [(56, 56, 3), (48, 48, 3)]
        assert get("/api/answer", photo=sent, run=1)["classes"] is None
        assert len(get("/api/answer", photo=sent, run=0)["classes"]) == 10


def test_the_script_serves_a_file_of_weights_until_it_is_stopped(tmp_path):
    """It warms up, and leaves nothing behind."""
    pytest.importorskip("onnx", reason="onnx is not installed (zfnet_jax[import])")
    import onnx

    from tests import onnx_chains, without_dense

    onnx.save(onnx_chains.build(without_dense.TRUNK, without_dense.SIZE), tmp_path / "net.onnx")
    pixels = ("--order=rgb", "--mean=120,110,100", "--scale=60", "--image_size=64")
    given = ("--port=0", f"--weights={tmp_path / 'net.onnx'}", *pixels)
    (tmp_path / "temporary").mkdir()
    with (tmp_path / "out").open("w+") as out:
        process = forked.Popen(
            [forked.sys.executable, "-m", "scripts.explore", *given],
            env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
            stdout=out,
            stderr=forked.subprocess.STDOUT,
        )
        try:
            link = waited_for(tmp_path / "out")
            with urllib.request.urlopen(f"{link}api/nets") as answer:
                (net,) = json.load(answer)["nets"]
            assert net["classes"] is None
            assert any((tmp_path / "temporary").iterdir())
        finally:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert len((tmp_path / "out").read_text().splitlines()) == 1
    assert not list((tmp_path / "temporary").iterdir())


def test_what_is_wrong_with_its_flags_is_one_line(workdir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = {
            (): "give --workdir=DIR, the folder of a run, once or twice, or --weights=FILE",
            (f"--workdir={workdir}", f"--port={port}"): f"cannot listen on 127.0.0.1, port {port}",
            ("--weights=x.onnx", "--workdir=a", "--workdir=b"): "--weights takes one --workdir",
            (f"--workdir={workdir}", "--host=nix.invalid"): "cannot listen on nix.invalid",
        }
        started = [start_script("explore", *flags) for flags in given]
        for process, error in zip(started, given.values()):
            _, said = process.communicate(timeout=60)
            assert process.returncode == 2
            assert said.startswith(f"error: {error}")
            assert len(said.splitlines()) == 1


def waited_for(path: Path) -> str:
    import time

    for _ in range(600):
        if found := re.search(r"Open (http://127\.0\.0\.1:\d+/)", path.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(path.read_text())
