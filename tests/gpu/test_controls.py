"""Negative controls: cases that pass, with one thing broken. One check says so, and no other (docs/controls.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome
from harness.cases.load import load
from harness.devices import accelerators
from harness.reports.result import Result
from tests.gpu.conftest import EngineHere
from tests.helpers import BASELINES, begin, edited, end, run, wait_for

SINGLE = {"vllm": "eagle3/known_answer", "sglang": "sglang_eagle3/known_answer"}
TRITON = {"cuda": "[tp=1,backend=TRITON_ATTN]", "rocm": "[tp=1,backend=auto]"}
"""The point of vLLM's cases of EAGLE3 that starts fastest, where they have a matrix."""


PLATFORMS_OF = {each.id: each.platforms for each in load(BASELINES)}


@dataclass(frozen=True)
class Control:
    """One thing broken.

    Attributes:
        engine: Of the case.
        case: Its id; as it is in the repository, it passes.
        broken: What is changed, by key.
        red: The checks that must fail: all that judge what is broken.
        before: What is changed too, with which the case still passes.
        checkpoints: The set that it runs with.
    """

    engine: str
    case: str
    broken: Mapping[str, Any]
    red: frozenset[str]
    before: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: str = ""


CONTROLS = {
    "drafter swapped, vLLM": Control(
        "vllm",
        SINGLE["vllm"],
        {"serve/speculation/model/known_answer": "eagle3_stranger"},
        frozenset(
            {"acceptance_length", "draft_counts", *(f"acceptance_per_position[{position}]" for position in range(3))}
        ),
    ),
    "drafter swapped, SGLang": Control(
        "sglang",
        SINGLE["sglang"],
        {"serve/speculation/model/known_answer": "eagle3_stranger"},
        frozenset({"acceptance_length"}),
    ),
    # Decode computes what prefill should have sent. With twins the answers would be wrong too; here they are right.
    "connector removed": Control(
        "vllm",
        "disagg/known_answer",
        {"roles/decode/kv_transfer/connector": "none"},
        frozenset({"kv_transfer"}),
        before={
            "roles/prefill/model/known_answer": "target",
            "roles/decode/model/known_answer": "target",
            "controls/prefill_alone": None,
            "controls/decode_alone": None,
        },
    ),
    "load balancing off": Control(
        "vllm",
        "eplb/qwen3_30b_dp4_async",
        {"serve/flags/enable-eplb": False},
        frozenset({"rearrangements"}),
        before={"serve/data_parallel_size": 2},
        checkpoints="tiny",
    ),
    "CUDA graphs off, vLLM": Control(
        "vllm",
        "eagle3/llama3_8b",
        {"serve/flags/enforce-eager": True},
        frozenset({"cuda_graphs"}),
        checkpoints="tiny",
    ),
    "CUDA graphs off, SGLang": Control(
        "sglang",
        SINGLE["sglang"],
        {"serve/flags/disable-cuda-graph": True},
        frozenset({"server_config[disable_cuda_graph]", "server_config[cuda_graph_config.decode.backend]"}),
    ),
}


def point(case: str, platform: str) -> str:
    """One point of a case."""
    return case + (TRITON.get(platform, "") if case.startswith("eagle3/") else "")


@pytest.mark.parametrize("name", CONTROLS)
def test_the_check_that_judges_it_fails_and_no_other(folder: Path, engine: EngineHere, name: str) -> None:
    control = CONTROLS[name]
    if control.engine != engine.name:
        pytest.skip(f"the engine is {engine.name}, the control is of {control.engine}")
    if engine.platform not in PLATFORMS_OF[control.case]:
        pytest.skip(f"{control.case} does not run on {engine.platform}")
    changes = {**control.before, **control.broken}
    cases = edited(folder / "cases", control.case, changes, generate=False, platform=engine.platform)
    wanted = ("--checkpoints", control.checkpoints, point(control.case, engine.platform))
    result = run(folder, *wanted, "--cases", cases, *engine.arguments)
    assert result.code == 1, result.output
    verdict = result.result
    assert {stage.outcome for stage in verdict.stages} == {Outcome.PASS}
    assert failed(verdict) == dict.fromkeys(control.red, Outcome.FAIL)
    assert len(verdict.checks) > len(control.red)


def failed(verdict: Result) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in verdict.checks if check.outcome is not Outcome.PASS}


def test_a_server_killed_in_mid_run_is_an_error_that_names_it(folder: Path, engine: EngineHere) -> None:
    case = SINGLE[engine.name]
    slow = {"evaluation/concurrency": 1}
    cases = edited(folder / "cases", case, slow, generate=False, platform=engine.platform)
    process = begin(folder, point(case, engine.platform), "--cases", cases, *engine.arguments)
    wait_for(lambda: process.poll() is not None or [*folder.glob("runs/*/metrics/before-server.prom")], 900)
    assert process.poll() is None, process.communicate()[0]
    (servers,) = (folder / "runs").glob("*/servers.json")
    (server,) = json.loads(servers.read_text())["servers"]
    os.kill(server["process"]["pid"], signal.SIGKILL)
    result = end(process, None, folder, timeout=60)
    assert result.code == 4, result.output
    assert failed(result.result) == {}
    assert list(result.errors) == ["eval"]
    assert result.problems["eval"].startswith("server ")
    assert "SIGKILL" in result.problems["eval"]


@pytest.fixture
def stranger(engine: EngineHere) -> Iterator[subprocess.Popen[str]]:
    """A process of somebody else with 3 GiB of the first device."""
    if engine.platform == "cpu":
        pytest.skip("a CPU has no device to occupy")
    take = "import time, torch; x = torch.zeros(3 << 28, device='cuda'); print('there', flush=True); time.sleep(600)"
    with subprocess.Popen([engine.python, "-c", take], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process
        process.kill()


def test_an_occupied_device_is_not_taken(folder: Path, engine: EngineHere, stranger: subprocess.Popen[str]) -> None:
    case = SINGLE[engine.name]
    first = accelerators.visible(engine.platform)[0].name
    cases = edited(folder / "cases", case, {}, generate=False, platform=engine.platform)
    only = {accelerators.on_paper(engine.platform): first}
    result = run(folder, point(case, engine.platform), "--cases", cases, *engine.arguments, env=only)
    assert result.code == 4, result.output
    assert list(result.errors) == ["prepare"]
    told = result.problems["prepare"]
    assert f"pid {stranger.pid}" in told or "a process that cannot be seen from here" in told
    assert stranger.poll() is None, "nobody else's process may be touched"
