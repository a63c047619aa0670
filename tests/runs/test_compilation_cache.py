from __future__ import annotations

import os

from zfnet_jax.runs import compilation_cache


def test_a_folder_of_the_users_cache_is_named_unless_the_environment_names_one(
    monkeypatch, tmp_path
):
    for name in ("DIR", "MAX_SIZE"):
        monkeypatch.setenv(f"JAX_COMPILATION_CACHE_{name}", "")  # restored after the test
        monkeypatch.delenv(f"JAX_COMPILATION_CACHE_{name}")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compilation_cache.use_default_folder()
    folder = os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert folder.startswith(str(tmp_path / "zfnet_jax"))
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "1"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    compilation_cache.use_default_folder()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"


def test_without_xdg_it_lies_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compilation_cache.default_folder().is_relative_to(tmp_path / ".cache" / "zfnet_jax")
