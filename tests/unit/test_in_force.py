"""What a case asks for next to what a server shows: reading, comparing, judging."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import NO_ANSWERS, Evidence, Measurement
from harness.base.seen_settings import SeenSetting
from harness.checks import in_force
from harness.engines import ENGINES, metrics
from harness.engines.python_repr import Member, fields, flat
from harness.engines.sights import Told, compare, flattened, same

# Of vLLM 0.32.0 on a CPU, shortened.
LINE = (
    "(EngineCore pid=1181) INFO 11-27 17:54:08 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: "
    "model='model', speculative_config=SpeculativeConfig(method='eagle3', model='drafter', num_spec_tokens=3), "
    "tokenizer='mo,de)l', revision=None, trust_remote_code=False, dtype=torch.bfloat16, max_seq_len=1024, "
    "tensor_parallel_size=1, data_parallel_size=1, quantization=None, enforce_eager=True, kv_cache_dtype=auto, "
    "device_config=cpu, structured_outputs_config=StructuredOutputsConfig(backend='auto', reasoning_parser=''), "
    "enable_prefix_caching=True, compilation_config={'mode': <CompilationMode.NONE: 0>, 'custom_ops': ['all'], "
    "'inductor_passes': {}, 'cudagraph_mode': <CUDAGraphMode.NONE: 0>, 'pass_config': {'fuse_norm_quant': True}, "
    "'dynamic_shapes_config': {'type': <DynamicShapesType.BACKED: 'backed'>}}, "
    "kernel_config=KernelConfig(ir_op_priority=IrOpPriorityConfig(rms_norm=['native']), moe_backend='auto')\n"
)
METRICS = (
    'vllm:cache_config_info{block_size="32",cache_dtype="auto",enable_prefix_caching="True",engine="0",'
    'gpu_memory_utilization="0.92",kv_cache_layout="None",mamba_block_size="None"} 1.0\n'
)


def told(log: str = LINE, text: str = METRICS, info: object = None) -> Told:
    infos = metrics.infos(text)
    return Told(log, infos, frozenset(infos), info)


def seen(engine: str, asked: Mapping[str, object], what: Told) -> dict[str, SeenSetting]:
    return {each.name: each for each in compare("server", asked, ENGINES[engine].sights, what)}  # type: ignore[arg-type]


def test_a_configuration_as_python_prints_it() -> None:
    found = flat(fields(LINE.split("with config: ")[1].strip()))
    assert found["speculative_config.method"] == "eagle3"
    assert found["speculative_config.num_spec_tokens"] == 3
    assert found["tokenizer"] == "mo,de)l"
    assert found["revision"] is None
    assert found["enforce_eager"] is True
    assert found["compilation_config.cudagraph_mode"] == Member("NONE", "0")
    assert found["compilation_config.dynamic_shapes_config.type"].value == "backed"
    assert found["kernel_config.ir_op_priority.rms_norm"] == ["native"]
    assert found["kernel_config.moe_backend"] == "auto"


@given(st.text(alphabet="a=,'\"()[]{}<>:\\ .N1\n", max_size=200))
def test_whatever_is_printed_is_taken_apart_or_left_alone(text: str) -> None:
    flat(fields(text))


def test_what_nests_without_end_stays_text() -> None:
    fields("a=" + "[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize(
    ("asked", "found", "equal"),
    [
        (True, "True", True),
        (True, False, False),
        ("bfloat16", "torch.bfloat16", True),
        ("auto", "anything", True),
        (0.9, "0.9", True),
        ("1G", "1073741824", True),
        ("1k", 1000, True),
        (32, "16", False),
        (3, Member("VLLM_COMPILE", "3"), True),
        ("vllm_compile", Member("VLLM_COMPILE", "3"), True),
        (["a"], ["a"], True),
        (["a", "b"], ["a"], False),
        ([1, 2], [2, 1], True),
        ("/models/x/", "/models/x", True),
        ("FLASH_ATTN", "flash_attn", True),
    ],
)
def test_spellings_of_one_value_are_equal(asked: object, found: object, equal: bool) -> None:
    assert same(asked, found) is equal  # type: ignore[arg-type]


def test_vllm_shows_its_configuration() -> None:
    asked = {
        "block-size": 32,
        "dtype": "bfloat16",
        "max-model-len": 1024,
        "enforce-eager": True,
        "enable-prefix-caching": True,
        "data-parallel-size": 1,
        "compilation-config.cudagraph_mode": "NONE",
        "speculative-config.num_speculative_tokens": 3,
    }
    assert all(each.equal for each in seen("vllm", asked, told()).values())
    spelt = {"dtype": "BFloat16", "max-model-len": -1, "speculative-config.method": "eagle3"}
    assert all(each.equal for each in seen("vllm", spelt, told()).values())
    mtp = told(LINE.replace("method='eagle3'", "method='mtp'").replace("torch.bfloat16", "torch.float16"))
    assert all(
        each.equal
        for each in seen("vllm", {"speculative-config.method": "deepseek_mtp", "dtype": "half"}, mtp).values()
    )
    other = seen("vllm", {**asked, "block-size": 16, "enable-prefix-caching": False, "dtype": "float16"}, told())
    assert [name for name, each in other.items() if not each.equal] == ["block-size", "dtype", "enable-prefix-caching"]
    assert other["block-size"].seen == ("32",)


@pytest.mark.parametrize(
    ("asked", "line", "equal"),
    [
        # vllm/platforms/cuda.py, rocm.py and cpu.py.
        ({"kv-transfer-config.kv_connector": "NixlConnector"}, "connector with name: NixlPullConnector", None),
        (
            {"kv-transfer-config.kv_connector": "NixlConnector"},
            "Creating v1 connector with name: NixlPullConnector and",
            True,
        ),
        ({"attention-backend": "FLASH_ATTN"}, "Using AttentionBackendEnum.FLASH_ATTN backend.", True),
        (
            {"attention-backend": "FLASHINFER"},
            "Using FLASH_ATTN attention backend out of potential",
            False,
        ),
        ({"attention-backend": "TRITON_ATTN"}, "Using TRITON_ATTN backend (selected via --attention-backend).", True),
        ({"attention-backend": "TRITON_ATTN"}, "Cannot use TRITON_ATTN backend on CPU.", False),
        ({"attention-backend": "FLASH_ATTN"}, "Detected attention backend(s) ['FLASH_ATTN']", True),
        ({"attention-backend": "FLASH_ATTN"}, "Using backend FLASH_ATTN for vit attention", None),
        ({"all2all-backend": "deepep_low_latency"}, "Using DeepEPLLAll2AllManager all2all manager.", True),
        ({"all2all-backend": "deepep_low_latency"}, "Using AgRsAll2AllManager all2all manager.", False),
        ({"all2all-backend": "naive"}, "Using AgRsAll2AllManager all2all manager.", True),
        ({"all2all-backend": "mori_low_latency"}, "Using MoriAll2AllManager all2all manager.", True),
        ({"enable-expert-parallel": True}, "[EP Rank 0/2] Expert parallelism is enabled. Expert", True),
        ({"enable-expert-parallel": False}, "[EP Rank 0/2] Expert parallelism is enabled. Expert", False),
        ({"enable-expert-parallel": True}, "is assigned as DP rank 0, ETP rank 0, EP rank N/A, EPLB rank N/A", False),
        ({"enable-eplb": True}, "EPLB is enabled for MoE part of model m.", True),
        ({"enable-eplb": True}, "is assigned as DP rank 0, EP rank 0, EPLB rank N/A", False),
        ({"eplb-config.use_async": True}, "Rearranging experts (async mode) (profile)...", True),
        ({"eplb-config.use_async": True}, "Rearranging experts sync mode ...", False),
        ({"VLLM_KV_CACHE_LAYOUT": "HND"}, "Using LBHNC KV cache layout.", True),
        ({"VLLM_KV_CACHE_LAYOUT": "HND"}, "detected. Setting KV cache layout to NHD.", False),
        ({"VLLM_SSM_CONV_STATE_LAYOUT": "DS"}, "Setting SSM conv state layout to DS.", True),
        (
            {"kv-transfer-config.kv_connector": "NixlConnector"},
            "Creating v1 connector with name: NixlConnector and",
            True,
        ),
        (
            {"kv-transfer-config.kv_connector": "OffloadingConnector"},
            "Creating v1 connector with name: NixlConnector and",
            False,
        ),
        (
            {"kv-transfer-config.kv_buffer_device": "cuda"},
            "Registering KV_Caches. use_mla: False, kv_buffer_device: cpu, use_host_buffer: True",
            False,
        ),
        ({"offload-group-size": 8}, "pool: 1 GB (group_size=8, num_in_group=2, prefetch_step=1, mode=x)", True),
        ({"hf-overrides.architectures": ["A"]}, "Resolved architecture: A", True),
        ({"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}, "Since VLLM_ENABLE_V1_MULTIPROCESSING is set to False, this", True),
        ({"block-size": 16}, "a line that tells of something else", None),
    ],
)
def test_vllm_tells_of_the_rest_in_its_log(asked: dict[str, object], line: str, equal: bool | None) -> None:
    (found,) = seen("vllm", asked, told(line, "")).values()
    assert (found.equal if found.seen else None) is equal, found


def test_ranks_of_a_model_without_experts_each_call_themselves_one() -> None:
    two = METRICS + METRICS.replace('engine="0"', 'engine="1"')
    (found,) = seen("vllm", {"data-parallel-size": 2}, told(text=two)).values()
    assert found.equal
    (found,) = seen("vllm", {"data-parallel-size": 2}, told("(EngineCore_DP0 pid=1)\n(EngineCore_DP1 pid=2)")).values()
    assert found.equal


def test_a_block_size_is_the_least_where_recurrent_state_needs_more() -> None:
    line = "[interface.py:1096] Setting attention block size to 288 tokens to ensure that"
    labels = METRICS.replace('block_size="32"', 'block_size="288"')
    assert seen("vllm", {"block-size": 32}, told(line, labels))["block-size"].equal
    assert not seen("vllm", {"block-size": 512}, told(line, labels))["block-size"].equal
    assert not seen("vllm", {"block-size": 32}, told("", labels))["block-size"].equal


def test_a_counter_of_nan_is_there_or_not() -> None:
    counted = METRICS + "vllm:corrupted_requests_total 0.0\n"
    asked = {"VLLM_COMPUTE_NANS_IN_LOGITS": "1"}
    assert seen("vllm", asked, told(text=counted))["VLLM_COMPUTE_NANS_IN_LOGITS"].equal
    assert not seen("vllm", asked, told())["VLLM_COMPUTE_NANS_IN_LOGITS"].seen


def test_sglang_says_what_it_resolved() -> None:
    info = {"page_size": 64, "tp_size": 4, "speculative_algorithm": "EAGLE", "attention_backend": "triton"}
    info |= {"enable_dp_attention": True, "dp_size": 4, "chunked_prefill_size": 256}
    asked = {"page-size": 64, "tp-size": 4, "speculative-algorithm": "NEXTN", "chunked-prefill-size": 1024}
    found = seen("sglang", {**asked, "attention-backend": "fa3", "SGLANG_X": "1", "unheard-of": 1}, told("", "", info))
    assert [name for name, each in found.items() if each.equal] == list(asked)
    assert found["attention-backend"].seen == ("triton",)
    assert not found["SGLANG_X"].seen
    assert not found["unheard-of"].seen


@pytest.mark.parametrize(
    ("backend", "found", "equal"),
    [("aiter", 0.68, True), ("aiter", 0.8, True), ("aiter", 0.5, False), ("fa3", 0.68, False)],
)
def test_aiter_takes_its_part_of_the_memory(backend: str, found: float, equal: bool) -> None:
    info = {"attention_backend": backend, "mem_fraction_static": found}
    (shown,) = seen("sglang", {"mem-fraction-static": 0.8}, told("", "", info)).values()
    assert shown.equal is equal


def test_settings_have_names_of_their_own() -> None:
    flags = {"no-enable-prefix-caching": True, "a": {"b": 1, "c": [{"d": 2}, {"d": 3}]}, "e": ["f"]}
    assert flattened(flags) == {"enable-prefix-caching": False, "a.b": 1, "a.c.0.d": 2, "a.c.1.d": 3, "e": ["f"]}


def judged(*settings: SeenSetting) -> CheckResult:
    measured = Measurement(answers={"main": NO_ANSWERS}, acceptance=None, kv=None, finished=None)
    (result,) = in_force.judge(Evidence(measured, settings=settings))
    return result


EQUAL = SeenSetting("server", "block-size", "32", ("32",), equal=True)
UNSEEN = SeenSetting("server", "OMP_NUM_THREADS", "1")
DIFFERENT = SeenSetting("decode", "dtype", "float16", ("torch.bfloat16",))


def test_what_differs_fails_and_is_named() -> None:
    result = judged(EQUAL, UNSEEN, DIFFERENT)
    assert result.outcome is Outcome.FAIL
    assert result.message == "decode: dtype is torch.bfloat16, and float16 was asked for"
    assert result.measured == {"different": 1, "equal": 1, "unseen": 1}


def test_what_nothing_shows_is_counted_and_named() -> None:
    result = judged(EQUAL, UNSEEN, replace(UNSEEN, server="decode"))
    assert result.outcome is Outcome.PASS
    assert result.measured == {"different": 0, "equal": 1, "unseen": 2}
    assert result.message == "2 of the settings that the case asks for are not seen: OMP_NUM_THREADS"
    assert "decode: OMP_NUM_THREADS: asked 1, unseen" in result.details


def test_where_nobody_looked_there_is_no_verdict() -> None:
    measured = Measurement(answers={"main": NO_ANSWERS}, acceptance=None, kv=None, finished=None)
    assert [each.outcome for each in in_force.judge(Evidence(measured))] == [Outcome.ERROR]
    assert judged().message == "not verified: the case asks for no setting"


def test_where_nothing_could_be_read_nothing_passes() -> None:
    result = judged(UNSEEN)
    assert result.outcome is Outcome.SKIPPED
    assert result.message.startswith("not verified: nothing of what the servers wrote")
    assert json.dumps(result.measured)
