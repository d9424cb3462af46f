"""Models from a hub's cache, data files pinned by content, and prompts made from them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from pydantic import TypeAdapter

from harness.base.errors import CannotJudge
from harness.datasets.pinned_files import MT_BENCH, Dataset
from harness.host import answer_cache, data_files, hub, internet
from harness.protocols import items, mt_bench_direct, mt_bench_first_turn
from tests.helpers import in_hub_cache, tensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b'{"question_id": 81, "turns": ["Who?", "And when?"]}\n{"question_id": 82, "turns": ["Where?", "Why?"]}\n'
DATASET = Dataset("questions.jsonl", "https://example.org/q.jsonl", hashlib.sha256(CONTENT).hexdigest(), "MIT", "{}")


def test_a_model_in_the_cache_is_used_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_hub_cache(tmp_path, "some/model", COMMIT, {"config.json": b"{}", "model.safetensors": tensors()})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = hub.snapshot("some/model", COMMIT)
    assert (folder / "config.json").read_bytes() == b"{}"
    assert folder.name == COMMIT


INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()


@pytest.mark.parametrize(
    ("content", "lacks"),
    [
        ({"config.json": b"{}"}, "no weights"),
        ({"config.json": b"{}", "model.safetensors": b""}, "model.safetensors is empty"),
        ({"config.json": b"{}", "model.safetensors": tensors()[:-1]}, "its header says"),
        (
            {"config.json": b"{}", "model.safetensors.index.json": INDEX, "model-1.safetensors": tensors()},
            "1 of the 2 parts in model.safetensors.index.json are not there: model-2.safetensors",
        ),
        (
            {"config.json": b"{}", "model.safetensors.index.json": b"<html>", "model-1.safetensors": tensors()},
            "no table of",
        ),
    ],
)
def test_a_part_of_a_model_is_not_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, bytes], lacks: str
) -> None:
    in_hub_cache(tmp_path, "some/model", COMMIT, content)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.cached("some/model", COMMIT) is None
    with pytest.raises(hub.Unavailable) as caught:
        hub.snapshot("some/model", COMMIT)
    assert lacks in str(caught.value)
    assert "HF_HUB_OFFLINE is set" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_that_was_cut_off_is_not_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_hub_cache(tmp_path, "some/model", COMMIT, {"config.json": b"{}", "model.safetensors": tensors()})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = hub.cached("some/model", COMMIT)
    assert folder is not None
    blobs = folder.parents[1] / "blobs"
    (blobs / "0abc.incomplete").write_bytes(b"wei")
    assert hub.cached("some/model", COMMIT) is None
    (blobs / "0abc").write_bytes(b"weights")  # another download of it came to its end
    assert hub.cached("some/model", COMMIT) == folder
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../blobs/nowhere")
    assert hub.cached("some/model", COMMIT) is None


def test_what_the_hub_listed_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_hub_cache(tmp_path, "some/model", COMMIT, {"config.json": b"{}"})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    entry = {"size": 2, "blob_id": "0"}
    trees = tmp_path / "models--some--model" / "trees"
    trees.mkdir()
    for number, names in enumerate((["config.json"], ["config.json", "tokenizer.json"])):
        commit = COMMIT[:-1] + str(number)
        in_hub_cache(tmp_path, "some/model", commit, {"config.json": b"{}"})
        listing = {"format_version": 1, "files": dict.fromkeys(names, entry)}
        (trees / f"{commit}.json").write_text(json.dumps(listing))
    assert hub.cached("some/model", COMMIT[:-1] + "0") is not None
    assert hub.cached("some/model", COMMIT[:-1] + "1") is None


def test_kept_answers_stay_while_they_are_used(tmp_path: Path) -> None:
    kind = TypeAdapter(str)
    for number in range(100):
        answer_cache.keep(tmp_path / f"{number}.json", kind, "answer")
        os.utime(tmp_path / f"{number}.json", (number, number))
    assert answer_cache.read(tmp_path / "0.json", kind) == "answer"
    answer_cache.keep(tmp_path / "new.json", kind, "answer")
    left = {path.stem for path in tmp_path.glob("*.json")}
    assert len(left) == 100
    assert {"0", "new"} <= left
    assert "1" not in left


def test_a_page_of_a_proxy_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = SimpleNamespace(content=b"\n<!DOCTYPE html><p>Log in", raise_for_status=lambda: None)
    monkeypatch.setattr(requests, "get", lambda *_, **__: page)
    with pytest.raises(internet.Refused, match="the answer is a page and not the file, as of a proxy"):
        internet.fetch(DATASET.url, tmp_path / DATASET.file, DATASET.sha256)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_nowhere_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("harness.host.internet.problem", lambda *_: "it does not answer")
    with pytest.raises(hub.Unavailable) as caught:
        hub.snapshot("some/model", COMMIT)
    assert "\n" not in str(caught.value)
    assert str(caught.value)


def test_data_of_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data_files.DATA_FOLDER, str(tmp_path))
    with pytest.raises(CannotJudge, match=r"no questions\.jsonl"):
        data_files.fetch(DATASET)
    (tmp_path / DATASET.file).write_bytes(CONTENT)
    assert data_files.fetch(DATASET) == tmp_path / DATASET.file
    (tmp_path / DATASET.file).write_bytes(CONTENT[:-1])
    with pytest.raises(CannotJudge) as caught:
        data_files.fetch(DATASET)
    assert f"expected {DATASET.sha256}; remove the file" in str(caught.value)


def test_a_download_is_kept_only_if_it_is_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = {"content": CONTENT[:-1]}

    def get(url: str, timeout: float) -> Any:
        return SimpleNamespace(content=served["content"], raise_for_status=lambda: None)

    monkeypatch.setattr(requests, "get", get)
    target = tmp_path / "data" / DATASET.file
    with pytest.raises(internet.Refused, match="its project may have changed it"):
        internet.fetch(DATASET.url, target, DATASET.sha256)
    assert not target.exists()
    served["content"] = CONTENT
    assert internet.fetch(DATASET.url, target, DATASET.sha256).read_bytes() == CONTENT
    monkeypatch.setattr(requests, "get", None)  # the second time, nobody is asked
    assert internet.fetch(DATASET.url, target, DATASET.sha256) == target


def test_mt_bench_asks_the_first_turns_as_chat() -> None:
    config = mt_bench_first_turn.MtBenchFirstTurn(
        protocol="mt_bench_first_turn", items=2, max_tokens=256, concurrency=80, send_to="entry"
    )
    found = items(config, {MT_BENCH.file: CONTENT.decode()})
    assert [(item.id, item.prompt, item.chat) for item in found] == [("M81", "Who?", True), ("M82", "Where?", True)]
    assert found[0].body == {"max_tokens": 256}


def test_direct_mt_bench_is_the_same_without_thinking() -> None:
    config = mt_bench_direct.MtBenchDirect(
        protocol="mt_bench_direct", items=2, max_tokens=2048, concurrency=1, send_to="entry"
    )
    found = items(config, {MT_BENCH.file: CONTENT.decode()})
    assert [(item.id, item.prompt, item.chat) for item in found] == [("M81", "Who?", True), ("M82", "Where?", True)]
    assert all(item.template == {"enable_thinking": False} and item.body == {"max_tokens": 2048} for item in found)


@pytest.mark.usefixtures("real_data")
def test_the_real_mt_bench() -> None:
    text = data_files.fetch(MT_BENCH).read_text(encoding="utf-8")
    config = mt_bench_first_turn.MtBenchFirstTurn(
        protocol="mt_bench_first_turn", items=80, max_tokens=256, concurrency=80, send_to="entry"
    )
    found = items(config, {MT_BENCH.file: text})
    assert (len(found), found[0].id, found[-1].id) == (80, "M81", "M160")
    assert str(found[0].prompt).startswith("Compose an engaging travel blog post about a recent trip to Hawaii")
    assert [json.loads(line)["turns"][0] for line in text.splitlines()] == [item.prompt for item in found]
