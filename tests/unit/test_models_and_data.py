"""Models from a hub's cache, data files pinned by content, and prompts made from them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from harness.ground.errors import CannotJudge
from harness.mechanism import downloads, hub
from harness.policy.datasets import MT_BENCH, Dataset
from harness.policy.protocols import items, mt_bench_first_turn
from harness.run import data
from tests.helpers import in_hub_cache

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b'{"question_id": 81, "turns": ["Who?", "And when?"]}\n{"question_id": 82, "turns": ["Where?", "Why?"]}\n'
DATASET = Dataset("questions.jsonl", "https://example.org/q.jsonl", hashlib.sha256(CONTENT).hexdigest(), "MIT", "{}")


def test_a_model_in_the_cache_is_used_without_asking_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_hub_cache(tmp_path, "some/model", COMMIT, {"config.json": b"{}"})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = hub.snapshot("some/model", COMMIT)
    assert (folder / "config.json").read_bytes() == b"{}"
    assert folder.name == COMMIT


def test_a_model_that_is_nowhere_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(hub.Unavailable) as caught:
        hub.snapshot("some/model", COMMIT)
    assert "\n" not in str(caught.value)
    assert str(caught.value)


def test_data_of_another_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data.DATA_FOLDER, str(tmp_path))
    with pytest.raises(CannotJudge, match=r"no questions\.jsonl"):
        data.fetch(DATASET)
    (tmp_path / DATASET.file).write_bytes(CONTENT)
    assert data.fetch(DATASET) == tmp_path / DATASET.file
    (tmp_path / DATASET.file).write_bytes(CONTENT[:-1])
    with pytest.raises(CannotJudge) as caught:
        data.fetch(DATASET)
    assert f"expected {DATASET.sha256}; remove the file" in str(caught.value)


def test_a_download_is_kept_only_if_it_is_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = {"content": CONTENT[:-1]}

    def get(url: str, timeout: float) -> Any:
        return SimpleNamespace(content=served["content"], raise_for_status=lambda: None)

    monkeypatch.setattr(requests, "get", get)
    target = tmp_path / "data" / DATASET.file
    with pytest.raises(downloads.Refused, match="its project may have changed it"):
        downloads.fetch(DATASET.url, target, DATASET.sha256)
    assert not target.exists()
    served["content"] = CONTENT
    assert downloads.fetch(DATASET.url, target, DATASET.sha256).read_bytes() == CONTENT
    monkeypatch.setattr(requests, "get", None)  # the second time, nobody is asked
    assert downloads.fetch(DATASET.url, target, DATASET.sha256) == target


def test_mt_bench_asks_the_first_turns_as_chat() -> None:
    config = mt_bench_first_turn.Config(
        protocol="mt_bench_first_turn", items=2, max_tokens=256, concurrency=80, send_to="entry"
    )
    found = items(config, {MT_BENCH.file: CONTENT.decode()})
    assert [(item.id, item.prompt, item.chat) for item in found] == [("M81", "Who?", True), ("M82", "Where?", True)]
    assert found[0].body == {"max_tokens": 256}


@pytest.mark.usefixtures("real_data")
def test_the_real_mt_bench() -> None:
    text = data.fetch(MT_BENCH).read_text(encoding="utf-8")
    config = mt_bench_first_turn.Config(
        protocol="mt_bench_first_turn", items=80, max_tokens=256, concurrency=80, send_to="entry"
    )
    found = items(config, {MT_BENCH.file: text})
    assert (len(found), found[0].id, found[-1].id) == (80, "M81", "M160")
    assert str(found[0].prompt).startswith("Compose an engaging travel blog post about a recent trip to Hawaii")
    assert [json.loads(line)["turns"][0] for line in text.splitlines()] == [item.prompt for item in found]
