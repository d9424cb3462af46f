"""One real engine: every case that needs no second one, and their negative controls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import CannotJudge
from harness.base.evidence import Acceptance
from harness.datasets.pinned_files import GSM8K_TEST, MT_BENCH
from harness.host.data_files import fetch
from known_answer import vocabulary as v
from known_answer.checkpoints import CHECKPOINTS
from known_answer.simulate import Request, total
from known_answer.table import CYCLE
from tests.cpu.conftest import (
    LOCAL,
    SINGLE,
    assert_counters_equal,
    assert_every_point_passes,
    cases_for,
    measurement,
    with_long,
)
from tests.helpers import (
    REPOSITORY,
    edited,
    environment,
    in_hub_cache,
    run,
    validated,
)


def test_eagle3_alone(folder: Path) -> None:
    result = run(folder, SINGLE, *LOCAL)
    assert result.code == 0, result.output
    assert_counters_equal(result, disaggregated=False)
    assert measurement(result).answers["main"].accuracy == 0.75


GSM8K = "gsm8k/known_answer"
ALONE = cases_for("single")


LIKE_ANOTHER = {"mtp/known_answer_k1", "draft_model/known_answer"}
"""Cases on one server that differ from another one in a number, or in who drafts the same."""


@pytest.mark.parametrize("case", with_long(set(ALONE) - {SINGLE, GSM8K}, LIKE_ANOTHER))
def test_every_other_case(folder: Path, case: str) -> None:
    assert_every_point_passes(folder, case, ALONE.count(case))


@pytest.mark.long  # a mutant of the engine stands for it, tests/cpu/test_power.py
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


def test_a_flag_that_the_engine_takes_and_ignores_is_named(folder: Path) -> None:
    changes = {"evaluation/items": 16, "serve/flags/attention-backend": "TRITON_ATTN"}
    result = run(folder, "--cases", edited(folder / "cases", "mtp/known_answer_k1", changes), *LOCAL)
    assert result.code == 1, result.output
    assert result.problems == {"in_force": "server: attention-backend is CPU_ATTN, and TRITON_ATTN was asked for"}


def not_a_number(model: bytes, tensor: str, row: int) -> bytes:
    """The same weights, of which the first of a row of a matrix of bfloat16 is NaN."""
    start = 8 + int.from_bytes(model[:8], "little")
    about = json.loads(model[8:start])[tensor]
    at = start + about["data_offsets"][0] + 2 * row * about["shape"][1]
    return model[:at] + b"\xc0\x7f" + model[at + 2 :]


def test_nan_in_the_logits_is_counted(folder: Path) -> None:
    case, commit, repo = "ngram/known_answer", "0" * 40, "known-answer/broken"
    files = CHECKPOINTS["target"].files()
    # Of a token that goes on: the NaN is always the largest.
    broken = not_a_number(files["model.safetensors"], "lm_head.weight", CYCLE[0])
    in_hub_cache(folder / "hub", repo, commit, files | {"model.safetensors": broken})
    changes = {"serve/model": {"repo": repo, "revision": commit}}
    cases = edited(folder / "cases", case, changes, generate=False)
    result = run(folder, "--cases", cases, "--platform", "cpu", *LOCAL, env={"HF_HUB_CACHE": str(folder / "hub")})
    assert result.code == 1, result.output
    assert result.problems["corrupted_requests"] == "NaN in the logits of 30 requests, seen by server"


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


@pytest.mark.long
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


@pytest.mark.long
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


def test_an_impossible_setting_is_reported_with_the_workers_root_cause(folder: Path) -> None:
    cases = edited(folder / "cases", SINGLE, {"serve/flags/max-model-len": 100_000})
    result = run(folder, "--cases", cases, *LOCAL)
    assert result.code == 4
    assert "max_model_len" in result.problems["health-wait"]


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
