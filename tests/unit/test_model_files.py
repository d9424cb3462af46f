"""Which files of a model an engine reads, whether all are there, and what their content is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness.base.errors import CannotJudge
from harness.host import content_digest, first_use, model_files
from harness.run.model_sources import mounted
from harness.run.rundir import Checkpoint
from tests.helpers import tensors


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = tmp_path / "model"
    found.mkdir()
    for name, content in {"config.json": b"{}", "model.safetensors": tensors(), "tokenizer.json": b"{}"}.items():
        (found / name).write_bytes(content)
    return found


@pytest.mark.parametrize(
    ("names", "unread"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["config.json", "pytorch_model.bin", "pytorch_model.bin.index.json"], []),
        (["model.gguf"], []),
        (
            ["model.safetensors", "model.gguf", "original/model.safetensors"],
            ["model.gguf", "original/model.safetensors"],
        ),
        (["original/model.pth"], []),
        (["model.safetensors.index.json", "consolidated.safetensors"], []),
        (["model-1.safetensors", "consolidated.safetensors"], ["consolidated.safetensors"]),
        (["model-1.safetensors", "consolidated.safetensors", "params.json"], []),
        (["model.safetensors", "2_Dense/model.safetensors", "modeling_x.py", "x.jinja", "merges.txt"], []),
    ],
)
def test_what_no_engine_reads(names: list[str], unread: list[str]) -> None:
    assert model_files.unread(names) == unread


def test_a_part_that_lacks_what_the_index_says_is_of_another_model(folder: Path) -> None:
    assert model_files.problem(folder, tokenizer=True) == ""
    index = {"weight_map": {"weight": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert model_files.problem(folder) == ""
    index["weight_map"]["another"] = "model.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert model_files.problem(folder).startswith("model.safetensors has no another, which")


@pytest.mark.parametrize("text", ["{}", "[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "<html>", "[" * 9999])
def test_an_index_that_is_none_is_said(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)
    assert "has no table of weights" in model_files.problem(folder)


@pytest.mark.parametrize(
    "header",
    [b"[]", b'{"a": 1}', b'{"a": {}}', b'{"a": {"data_offsets": [5, 1]}}', b'{"a": {"data_offsets": [0]}}', b"xx"],
)
def test_a_header_that_is_none_is_said(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"x" * 9)
    assert "model.safetensors has a header" in model_files.problem(folder)


def test_hidden_folders_are_no_part(folder: Path) -> None:
    before = content_digest.of_files(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("x")
    assert content_digest.of_files(folder) == before


def test_a_change_is_seen_even_if_size_and_time_are_what_they_were(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_digest, "_SETTLED", -1e9)  # keep everything at once
    before = content_digest.of_files(folder)
    weights = folder / "model.safetensors"
    status = weights.stat()
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = content_digest.of_files(folder)
    assert [name for name in before if before[name] != after[name]] == ["model.safetensors"]
    assert content_digest.of_all(before) != content_digest.of_all(after)


def test_what_has_not_changed_is_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_digest, "_SETTLED", -1e9)
    before = content_digest.of_files(folder)

    [record] = (Path(os.environ["XDG_CACHE_HOME"]) / "inference-harness" / "digests").iterdir()
    record.write_text(record.read_text().replace(before["model.safetensors"], "kept"))
    assert content_digest.of_files(folder) == before | {"model.safetensors": "kept"}
    record.write_text("{")
    assert content_digest.of_files(folder) == before


def test_a_container_gets_what_links_lead_to(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "blobs"
    elsewhere.mkdir()
    (folder / "model.safetensors").rename(elsewhere / "0abc")
    (folder / "model.safetensors").symlink_to("../blobs/0abc")
    (folder / "tokenizer.model").symlink_to("tokenizer.json")
    own = Checkpoint(path=str(folder), is_own=True)
    assert mounted([own, own]) == [folder, elsewhere]


def test_first_use_counts_whoever_came_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert first_use.recalled("model", "a/b") is None
    first = first_use.keep("model", "a/b", "1" * 40, "hub")
    assert first_use.keep("model", "a/b", "2" * 40, "hub") == first
    assert first_use.keep("model", "a/b", "3" * 40, "hub", anew=True).value == "3" * 40
    assert first_use.recalled("base image", "a/b") is None
    [taken] = first_use.everything()
    [file] = (tmp_path / "inference-harness" / "first-use").iterdir()
    for content in ("", "{}", file.read_text().replace("3" * 40, "main"), file.read_text()[:-9]):
        file.write_text(content)
        with pytest.raises(CannotJudge, match="remove it, and it is taken anew"):
            first_use.recalled("model", "a/b")
    first_use.forget(taken)
    assert not list(first_use.everything())
