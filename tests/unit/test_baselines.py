"""Figures that upstream's own tests judge by, against the cases that carry them."""

from __future__ import annotations

from typing import Any

import pytest

from harness.base.domain import Platform
from harness.cases.load import load
from harness.devices.accelerators import on_paper
from harness.plan.points import Planned, everything
from harness.plan.show import show
from tests.helpers import BASELINES

EVERYTHING = everything(load(BASELINES))


def points(case: str, platform: Platform = "cuda") -> list[Planned]:
    """All points of a case on a platform."""
    return [each for each in EVERYTHING if each.case_file.id == case and each.platform == platform]


def checks(point: Planned) -> dict[str, Any]:
    return point.case.checks.model_dump(exclude_none=True)


# Figures of vllm-project/vllm 41294: aggregate, positions on CUDA, positions on ROCm, relative tolerance per position.
EAGLE3: list[tuple[str, float, list[float], list[float], float]] = [
    ("llama3_8b", 2.60, [0.7296, 0.5208, 0.3545], [0.7296, 0.5208, 0.3545], 0.05),
    ("qwen3_8b", 2.26, [0.6541, 0.3993, 0.2020], [0.6541, 0.3993, 0.2020], 0.05),
    ("gpt_oss_20b", 2.56, [0.7165, 0.5120, 0.3337], [0.7040, 0.4820, 0.3350], 0.05),
    ("qwen3_vl_30b_fp8", 1.35, [0.2900, 0.0620, 0.0115], [0.2900, 0.0620, 0.0115], 0.15),
]


@pytest.mark.parametrize(("name", "length", "cuda", "rocm", "tolerance"), EAGLE3, ids=[row[0] for row in EAGLE3])
def test_one_file_has_the_figures_of_both_platforms(
    name: str, length: float, cuda: list[float], rocm: list[float], tolerance: float
) -> None:
    found = [each for each in EVERYTHING if each.case_file.id == f"eagle3/{name}"]
    for each in found:
        aggregate, positions = each.case.checks.acceptance_length, each.case.checks.acceptance_per_position
        assert aggregate is not None
        assert positions is not None
        assert (aggregate.expected, aggregate.relative_tolerance, aggregate.direction) == (length, 0.05, "two-sided")
        assert list(positions.expected) == (rocm if each.platform == "rocm" else cuda)
        assert (positions.relative_tolerance, positions.direction) == (tolerance, "at-least")
        flags = each.case.serve.flags
        assert flags.get("enable-expert-parallel", False) == (name == "qwen3_vl_30b_fp8" and each.devices == 4)
        assert ("attention-backend" in flags) == (each.platform == "cuda")
    combinations = [(each.platform, each.devices, each.case.serve.flags.get("attention-backend")) for each in found]
    backends = ["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN"]
    assert set(combinations) == {("cuda", tp, backend) for tp in (1, 2, 4) for backend in backends} | {
        ("rocm", tp, None) for tp in (1, 2, 4)
    }
    without = {each.case.serve.flags.get("attention-backend") for each in found if "attention sinks" in each.skip}
    assert without == ({"FLASHINFER"} if name == "gpt_oss_20b" else set())


# vllm-project/vllm 42677 and the EAGLE3 test that it sweeps with.
def test_eagle3_under_disaggregation() -> None:
    backends: dict[Platform, str] = {"cuda": "FLASH_ATTN", "rocm": "TRITON_ATTN"}
    for platform, backend in backends.items():
        found = points("spec_disagg/eagle3_llama3_8b", platform)
        transfers = [each.case.serve.kv_transfer for each in found]
        assert [transfer.buffer_device for transfer in transfers if transfer] == ["cuda", "cpu"]
        for each in found:
            length, positions = checks(each)["acceptance_length"], checks(each)["acceptance_per_position"]
            assert (length["expected"], length["relative_tolerance"], length["direction"]) == (2.60, 0.05, "two-sided")
            assert positions["expected"] == [0.7296, 0.5208, 0.3545]
            assert (positions["relative_tolerance"], positions["direction"]) == (0.05, "two-sided")
            drafted = [each.case.serve_of(role).speculation for role in ("prefill", "decode")]
            assert [one.num_speculative_tokens for one in drafted if one] == [1, 3]
            flags, evaluation = each.case.serve.flags, each.case.evaluation
            assert (flags["block-size"], flags["max-model-len"], flags["attention-backend"]) == (16, 16384, backend)
            assert (evaluation.items, evaluation.max_tokens, evaluation.concurrency) == (80, 256, 1)
            assert each.devices == 2


def test_mtp_under_disaggregation() -> None:
    (each,) = points("spec_disagg/mtp_qwen3_5")
    length = checks(each)["acceptance_length"]
    assert (length["expected"], length["relative_tolerance"], length["direction"]) == (1.798, 0.05, "two-sided")
    serve = each.case.serve
    assert serve.model.repo == "Qwen/Qwen3.5-0.8B-Base"
    assert serve.speculation is not None
    assert (serve.speculation.method, serve.speculation.num_speculative_tokens) == ("mtp", 1)
    assert (serve.flags["block-size"], serve.flags["max-model-len"]) == (32, 4096)
    assert serve.env["VLLM_SSM_CONV_STATE_LAYOUT"] == "DS"
    assert serve.kv_transfer is not None
    assert serve.kv_transfer.buffer_device == "cuda"


def test_asynchronous_eplb() -> None:
    """vllm-project/vllm 40168."""
    for each in points("eplb/qwen3_30b_dp4_async") + points("eplb/qwen3_30b_dp4_async", "rocm"):
        serve, accuracy = each.case.serve, checks(each)["accuracy"]
        assert each.devices == 4
        assert (serve.model.repo, serve.data_parallel_size) == ("Qwen/Qwen3-30B-A3B-FP8", 4)
        assert serve.flags["eplb-config"] == {"window_size": 20, "step_interval": 100, "use_async": True}
        assert serve.flags["all2all-backend"] == "allgather_reducescatter"
        assert {"enable-eplb", "enable-expert-parallel", "enforce-eager", "trust-remote-code"} <= {
            name for name, value in serve.flags.items() if value is True
        }
        assert serve.flags["max-model-len"] == 2048
        assert serve.env["VLLM_DEEP_GEMM_WARMUP"] == "skip"
        assert (accuracy["expected"], accuracy["absolute_tolerance"], accuracy["direction"]) == (0.8, 0.0, "at-least")
        assert (each.case.evaluation.protocol, each.case.evaluation.items) == ("gsm8k_vllm", 1319)
        assert checks(each)["rearrangements"]["at_least"] == 2
        assert ("VLLM_ROCM_MOE_PADDING" in serve.env) == (each.platform == "rocm")
        assert "rearrangements: at_least 2" in show(each, on_paper(each.platform))


# The sweep of vllm-project/vllm 40623: model, prefill x decode sizes, exact match that is expected.
DISAGGREGATED: list[tuple[str, Platform, list[str], float]] = [
    ("accuracy_qwen3_0_6b", "cuda", ["2x2", "1x2", "2x1"], 0.41),
    ("accuracy_qwen3_0_6b", "rocm", ["2x2", "1x2", "2x1"], 0.41),
    ("accuracy_deepseek_vl2_tiny", "cuda", ["1x1", "1x2", "2x1"], 0.19),
    ("accuracy_deepseek_vl2_tiny", "rocm", ["1x1", "1x2", "2x1"], 0.19),
    ("accuracy_dp_ep", "cuda", ["1x1", "2x1"], 0.19),
    ("hybrid_granite", "cuda", ["1x1", "2x1", "2x2"], 0.77),
    ("hybrid_qwen3_5", "cuda", ["1x1", "1x2"], 0.33),
    ("hybrid_qwen3_5_mtp", "cuda", ["1x1"], 0.33),
    ("hybrid_jamba", "cuda", ["1x1"], 0.74),
    ("sliding_window_gemma3", "cuda", ["1x1", "1x2", "2x1"], 0.74),
    ("sliding_window_gemma4", "cuda", ["1x1"], 0.485),
    ("multi_connector", "cuda", ["1x1"], 0.41),
    ("multi_connector_ngram", "cuda", ["1x1"], 0.41),
]


@pytest.mark.parametrize(
    ("name", "platform", "sizes", "value"), DISAGGREGATED, ids=[f"{a}-{b}" for a, b, *_ in DISAGGREGATED]
)
def test_accuracy_under_disaggregation(name: str, platform: Platform, sizes: list[str], value: float) -> None:
    found = points(f"disagg/{name}", platform)
    for each in found:
        accuracy = checks(each)["accuracy"]
        assert (accuracy["expected"], accuracy["absolute_tolerance"]) == (value, 0.05)
        assert (each.case.evaluation.protocol, each.case.evaluation.items) == ("gsm8k_lm_eval_strict", 1319)
        assert "kv_transfer" in checks(each)
    roles = [[each.case.serve_of(role).tensor_parallel_size for role in ("prefill", "decode")] for each in found]
    assert {f"{prefill}x{decode}" for prefill, decode in roles} == set(sizes)


def test_gemma_3_is_not_lost_because_one_backend_cannot_run_it() -> None:
    found = points("disagg/sliding_window_gemma3")
    assert len(found) == 6
    assert sorted("FlashInfer" in each.skip for each in found) == [False] * 3 + [True] * 3
    assert all("flashinfer" in each.id for each in found if each.skip)
