"""Bundles: lock files for another Python, manifests that lie, sizes, and a disk that is too small."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import CannotJudge, UsageError
from harness.bundle import loader
from harness.bundle.contents import _models, size
from harness.bundle.manifest import Entry, Manifest, parse, safe
from harness.cases.serve_settings import Model
from harness.images.requirements import download_options, environment, of_wheels, reduced
from tests.helpers import REPOSITORY, in_hub_cache, tensors

MANIFEST = Manifest(
    created="2026-01-01T00:00:00+00:00",
    version="0",
    revision="0" * 40,
    platform="cpu",
    python="3.11",
    machine="x86_64",
    cases=("a/b",),
    checkpoints="",
    left_out={},
    images={},
    installed_bytes=100 << 20,
    files=(Entry("data/x", "data", 3 << 20, "0" * 64),),
)


def test_markers_are_those_of_the_other_side() -> None:
    lock = (REPOSITORY / "requirements" / "harness.txt").read_text()
    here, there = (reduced(lock, environment(python, "x86_64")) for python in ("3.11", "3.12"))
    assert {line.split("==")[1][:5] for text in (here, there) for line in text.splitlines() if "numpy" in line} == {
        "2.4.6",
        "2.5.5",
    }
    for text in (here, there):
        assert text.count("numpy==") == 1
        assert ";" not in text
        assert "pywin32" not in text
        assert all("--hash=sha256:" in block for block in text.replace("\\\n", " ").splitlines())
    assert text.count("==") < lock.count("\n    --hash")


def test_a_requirement_without_a_hash_is_refused() -> None:
    with pytest.raises(UsageError, match="has no hash"):
        reduced("requests==2.0\n", environment("3.12", "x86_64"))
    with pytest.raises(UsageError, match="locked requirement"):
        reduced("--index-url https://example.org\n", environment("3.12", "x86_64"))


def test_wheels_become_a_lock_of_exactly_them() -> None:
    assert of_wheels({"Some_thing-1.0+cpu-py3-none-any.whl": "ab"}) == "some-thing==1.0+cpu \\\n    --hash=sha256:ab\n"
    with pytest.raises(UsageError, match="another wheel of a is there too"):
        of_wheels({"a-1-py3-none-any.whl": "x", "a-2-py3-none-any.whl": "y"})
    with pytest.raises(UsageError, match=r"^notes\.whl: "):
        of_wheels({"notes.whl": "x"})


def test_of_several_wheels_the_one_for_the_oldest_system_is_wanted() -> None:
    options = download_options("3.12", "x86_64")
    assert "cp312" in options
    assert options.index("manylinux2014_x86_64") < options.index("manylinux_2_28_x86_64")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a\\..\\x", "a\nb", "a\0b"])
def test_a_path_out_of_the_bundle_is_refused(path: str) -> None:
    assert not safe(path)
    with pytest.raises(UsageError, match="leads out of the bundle"):
        parse(replace(MANIFEST, files=(Entry(path, "data", 0, "0" * 64),)).render())


def test_a_manifest_is_read_back_and_damage_is_named() -> None:
    assert parse(MANIFEST.render()) == MANIFEST
    document: dict[str, Any] = json.loads(MANIFEST.render())
    for change, words in (
        ({"schema_version": 2}, "schema_version 2"),
        ({"cases": None}, "a key is missing or unknown"),
        ({"images": []}, "images has no value of its kind"),
        ({"other": 1}, "a key is missing or unknown"),
        ({"files": [{"path": "a", "kind": "data", "size": -1, "sha256": "0" * 64}]}, "size or SHA-256"),
        ({"files": [document["files"][0]] * 2}, "named twice"),
    ):
        with pytest.raises(UsageError, match=words):
            parse(json.dumps(document | change).encode())
    for content in (b"", b"[]", MANIFEST.render()[:-10]):
        with pytest.raises(UsageError, match="damaged"):
            parse(content)


def test_a_model_is_taken_as_plain_files_of_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("harness.host.internet.problem", lambda *_: "it does not answer")
    model = Model(repo="some/model", revision=commit)
    planned: Any = SimpleNamespace(case=SimpleNamespace(models=lambda: [model]))
    with pytest.raises(CannotJudge, match="some/model at 0123456789ab is neither in the hub's cache nor can it be"):
        list(_models([planned], lambda _: None))
    in_hub_cache(tmp_path, "some/model", "1" + commit[1:], {"config.json": b"{}"})
    model = Model(repo="some/model", revision="1" + commit[1:])
    with pytest.raises(CannotJudge, match="is not complete"):  # a part of a model is never packed
        list(_models([planned], lambda _: None))
    model = Model(repo="some/model", revision=commit)
    in_hub_cache(tmp_path, "some/model", commit, {"config.json": b"{}", "model.safetensors": tensors()})
    [found, weights] = _models([planned], lambda _: None)
    assert (found.path, found.kind) == (f"hub/models--some--model/snapshots/{commit}/config.json", "model")
    assert (found.entry().size, weights.entry().size) == (2, len(tensors()))


@pytest.mark.parametrize(("text", "found"), [("48MiB", 48 << 20), ("1 GiB", 1 << 30), ("5KiB", 5 << 10)])
def test_sizes(text: str, found: int) -> None:
    assert size(text) == found


@pytest.mark.parametrize("text", ["48", "48M", "0MiB", "-1MiB", "MiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="must be like 48MiB"):
        size(text)


def test_a_disk_too_small_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=132 << 20))
    with pytest.raises(CannotJudge, match=r"133 MiB are needed, 132 MiB are free"):
        loader._fits_disk(MANIFEST, tmp_path / "new" / "folder", unpack=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=133 << 20))
    loader._fits_disk(MANIFEST, tmp_path / "new" / "folder", unpack=False)
