"""vLLM: where a server shows what is in force. Read from the wheels of 0.26.0, 0.30.0, 0.32.0 and 0.33.0.

Three places: the line that the engine core prints of its configuration once it is made up, which is no copy of the
command line; the labels of ``vllm:cache_config_info``; and lines of the log that a part writes when it is built. The
line of "non-default args" is not among them: it says what was asked. Nor is ``/server_info``, which is there only in a
mode for development that opens the server to remote calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from harness.base.settings import FlagValue
from harness.engines.python_repr import fields, flat
from harness.engines.sights import Agrees, Sight, Told, among, every, logged

_BEGINS = re.compile(r"Initializing a V1 LLM engine \(v[^)\n]*\) with config: ([^\n]*)")
_LINE_WORDS = "log line `Initializing a V1 LLM engine … with config: `"
_CACHE = "vllm:cache_config_info"


@lru_cache(maxsize=8)
def _configurations(log: str) -> tuple[dict[str, Any], ...]:
    return tuple(flat(fields(found[1])) for found in _BEGINS.finditer(log))


def _line(key: str) -> Callable[[Told, str], Iterator[object]]:
    return lambda told, _name: (each[key] for each in _configurations(told.log) if each.get(key) is not None)


def _in_table(told: Told, name: str) -> Iterator[object]:
    """Of ``compilation-config.mode`` the value of ``compilation_config.mode``."""
    return _line(name.replace("-", "_"))(told, name)


def _label(key: str) -> Callable[[Told, str], Iterator[object]]:
    return lambda told, _name: (each[key] for each in told.infos.get(_CACHE, ()) if each.get(key, "None") != "None")


_LINE = {
    "dtype": "dtype",
    "enable-chunked-prefill": "enable_chunked_prefill",
    "enforce-eager": "enforce_eager",
    "decode-context-parallel-size": "decode_context_parallel_size",
    "disable-custom-all-reduce": "disable_custom_all_reduce",
    "linear-backend": "kernel_config.linear_backend",
    "load-format": "load_format",
    "max-model-len": "max_seq_len",
    "moe-backend": "kernel_config.moe_backend",
    "pipeline-parallel-size": "pipeline_parallel_size",
    "quantization": "quantization",
    "revision": "revision",
    "seed": "seed",
    "served-model-name": "served_model_name",
    "speculative-config.method": "speculative_config.method",
    "speculative-config.model": "speculative_config.model",
    "speculative-config.num_speculative_tokens": "speculative_config.num_spec_tokens",
    "tensor-parallel-size": "tensor_parallel_size",
    "tokenizer": "tokenizer",
    "tokenizer-mode": "tokenizer_mode",
    "tokenizer-revision": "tokenizer_revision",
    "trust-remote-code": "trust_remote_code",
}
"""Keys of that line by setting; ``__str__`` of ``VllmConfig`` in ``vllm/config/vllm.py``."""

_TABLES = ("compilation-config.*", "kernel-config.*", "observability-config.*", "structured-outputs-config.*")

_LABELS = {
    "enable-prefix-caching": "enable_prefix_caching",
    "gpu-memory-utilization": "gpu_memory_utilization",
    "kv-cache-dtype": "cache_dtype",
    "kv-cache-memory-bytes": "kv_cache_memory_bytes",
    "kv-offloading-backend": "kv_offloading_backend",
    "kv-offloading-size": "kv_offloading_size",
    "kv-sharing-fast-prefill": "kv_sharing_fast_prefill",
    "mamba-block-size": "mamba_block_size",
    "mamba-cache-dtype": "mamba_cache_dtype",
    "mamba-cache-mode": "mamba_cache_mode",
    "mamba-ssm-cache-dtype": "mamba_ssm_cache_dtype",
    "num-gpu-blocks-override": "num_gpu_blocks_override",
    "prefix-caching-hash-algo": "prefix_caching_hash_algo",
}
"""Its labels by setting; the fields of ``CacheConfig`` in ``vllm/config/cache.py``."""

_LAYOUTS = {"NHD": "LBNHC", "HND": "LBHNC"}  # vllm/config/cache.py: the old names of two of them
_KV_DTYPES = {"fp8": "fp8_e4m3"}  # vllm/config/cache.py: what a CUDA device makes of it
_CONNECTORS = {"NixlConnector": "NixlPullConnector"}  # nixl/connector.py: the old name of it
_MANAGERS = {
    "AgRsAll2AllManager": "allgather_reducescatter",
    "DeepEPHTAll2AllManager": "deepep_high_throughput",
    "DeepEPLLAll2AllManager": "deepep_low_latency",
    "DeepEPV2All2AllManager": "deepep_v2",
    "FlashInferNVLinkOneSidedManager": "flashinfer_nvlink_one_sided",
    "FlashInferNVLinkTwoSidedManager": "flashinfer_nvlink_two_sided",
    "MoonEPAll2AllManager": "moonep",
    "MoriAll2AllManager": "mori",  # one for both of its modes
    "NixlEPAll2AllManager": "nixl_ep",
}
"""vllm/distributed/device_communicators/cuda_communicator.py."""

# Of a name that another one stands for: what both are.
_ALIASES = {
    "naive": "allgather_reducescatter",
    "flashinfer_all2allv": "flashinfer_nvlink_two_sided",
    "mori_high_throughput": "mori",
    "mori_low_latency": "mori",
}


def _known_as(names: dict[str, str]) -> Agrees:
    """Compares with one of the names that mean the same taken for the other."""

    def agrees(asked: FlagValue, seen: tuple[object, ...]) -> bool:
        return every(names.get(str(asked), asked), tuple(names.get(str(each), each) for each in seen))

    return agrees


def _all2all(told: Told, _name: str) -> Iterator[object]:
    for found in logged(r"Using (\w+) all2all manager")(told, ""):
        yield _MANAGERS.get(str(found), found)


def _backend(told: Told, _name: str) -> Iterator[object]:
    """vllm/platforms/{cuda,rocm,cpu}.py; on a CPU only that another one cannot be."""
    used = r"Using (?:AttentionBackendEnum\.)?([A-Z][A-Z0-9_]+)(?: attention)? backend(?:\.| \(selected| out of)"
    detected = r"Detected attention backends? ?(?:\(s\) )?\[?'?([A-Z][A-Z0-9_]+)"
    found = dict.fromkeys([*logged(used)(told, ""), *logged(detected)(told, "")])
    found |= dict.fromkeys("CPU_ATTN" for _ in logged(r"Cannot use (\S+) backend on CPU")(told, "") if not found)
    return iter(found)


def _ranks(told: Told, _name: str) -> Iterator[object]:
    """Engines that report, or what the line says: of a model without experts each rank calls itself the only one."""
    engines: set[object] = {each["engine"] for each in told.infos.get(_CACHE, ()) if "engine" in each}
    engines = max(engines, set(logged(r"EngineCore_DP(\d+)")(told, "")), key=len)
    said = [int(each) for each in _line("data_parallel_size")(told, "") if isinstance(each, int)]
    if engines or said:
        yield max([len(engines), *said])


def _block_size(told: Told, name: str) -> Iterator[object]:
    """vllm/platforms/interface.py: where a page of recurrent state needs more, what was asked for is the least."""
    raised = set(logged(r"Setting attention block size to (\d+) tokens")(told, name))
    for found in _label("block_size")(told, name):
        yield f"{found} (raised to a page of recurrent state)" if found in raised else found


def _size(asked: FlagValue, seen: tuple[object, ...]) -> bool:
    least = [int(found[1]) for each in seen if (found := re.match(r"(\d{1,12}) \(raised", str(each)))]
    return min(least) >= int(str(asked)) if least and str(asked).isdigit() else every(asked, seen)


def _when(pattern: str, value: object, otherwise: str = "") -> Callable[[Told, str], Iterator[object]]:
    """``value`` where the log has the pattern; False where it has the other one instead."""
    yes, no = re.compile(pattern), re.compile(otherwise) if otherwise else None

    def read(told: Told, _name: str) -> Iterator[object]:
        if yes.search(told.log):
            yield value
        elif no is not None and no.search(told.log):
            yield False

    return read


def _nan_counter(told: Told, _name: str) -> Iterator[object]:
    if "vllm:corrupted_requests_total" in told.samples:
        yield 1


def _looks_for_nan(asked: FlagValue, seen: tuple[object, ...]) -> bool:
    return bool(seen) == (str(asked).lower() not in ("0", "false", ""))


def _said(setting: str, words: str, pattern: str, agrees: Agrees = every) -> Sight:
    return Sight(setting, f"log line `{words}`", logged(pattern), agrees)


# Since 0.27 it is resolved once, and said; before, where the environment or a backend chose it.
_LAYOUT = r"(?:Using (?=\w+ KV cache layout)|Setting KV cache layout to )([A-Z]{3,6})\b"


def _length(asked: FlagValue, seen: tuple[object, ...]) -> bool:
    return str(asked) == "-1" or every(asked, seen)  # as much as fits


def _method(asked: FlagValue, seen: tuple[object, ...]) -> bool:
    """vllm/config/speculative.py: of every model's own name for it, ``mtp`` is what all of them are."""
    return every("mtp" if str(asked).endswith("mtp") else asked, seen)


_AGREE = {
    "dtype": _known_as({"half": "float16", "float": "float32"}),
    "max-model-len": _length,
    "speculative-config.method": _method,
}
"""What is compared in a way of its own."""

SIGHTS = (
    *(Sight(name, f"{_LINE_WORDS}, {key}", _line(key), _AGREE.get(name, every)) for name, key in _LINE.items()),
    *(Sight(name, f"{_LINE_WORDS}, the table of that name", _in_table) for name in _TABLES),
    *(
        Sight(name, f"metric `{_CACHE}`, label {key}", _label(key), _known_as(_KV_DTYPES) if "dtype" in key else every)
        for name, key in _LABELS.items()
    ),
    Sight("block-size", f"metric `{_CACHE}`, label block_size", _block_size, _size),
    Sight("enable-prefix-caching", f"{_LINE_WORDS}, enable_prefix_caching", _line("enable_prefix_caching")),
    Sight("kv-cache-dtype", f"{_LINE_WORDS}, kv_cache_dtype", _line("kv_cache_dtype"), _known_as(_KV_DTYPES)),
    Sight("data-parallel-size", f"metric `{_CACHE}`, how many engines; log prefix `EngineCore_DP`", _ranks),
    Sight("attention-backend", "log line `Using … backend`", _backend, among),
    Sight("all2all-backend", "log line `Using … all2all manager`", _all2all, _known_as(_ALIASES)),
    Sight(
        "enable-expert-parallel",
        "log lines `Expert parallelism is enabled` and `rank … is assigned as … EP rank`",
        _when(r"\[EP Rank [^\]]*\] Expert parallelism is enabled", True, r"is assigned as .*EP rank N/A, EPLB rank"),
    ),
    Sight(
        "enable-eplb",
        "log lines `EPLB is enabled for` and `rank … is assigned as … EPLB rank`",
        _when(r"EPLB is enabled for ", True, r"is assigned as .*EPLB rank N/A"),
    ),
    Sight(
        "eplb-config.use_async",
        "log line `Rearranging experts … mode`",
        lambda told, _: (each == "async" for each in logged(r"Rearranging experts \(?(a?sync) mode")(told, "")),
    ),
    Sight("eplb-config.log_balancedness", "log line `EPLB step: `", _when(r"EPLB step: .*balancedness=", True)),
    Sight("hf-overrides.architectures", "log line `Resolved architecture: `", logged(r"Resolved architecture: (\w+)"),
          lambda asked, seen: any(among(each, seen) for each in (asked if isinstance(asked, list) else [asked]))),
    _said("kv-transfer-config.kv_connector", "Creating v1 connector with name: ", r"v1 connector with name: (\w+)",
          _known_as(_CONNECTORS)),
    _said("kv-transfer-config.kv_buffer_device", "Registering KV_Caches. ", r"kv_buffer_device: (\w+), use_host"),
    _said("kv-transfer-config.*shared_storage_path", "Shared storage path is ", r"Shared storage path is (\S+)"),
    _said("max-num-batched-tokens", "Chunked prefill is enabled with ", r"with max_num_batched_tokens=(\d+)", among),
    _said("offload-backend", "Offloader set to ", r"Offloader set to (\w+)Offloader"),
    _said("offload-group-size", "[PrefetchOffloader] Initialized", r"\(group_size=(\d+), num_in_group="),
    _said("offload-num-in-group", "[PrefetchOffloader] Initialized", r", num_in_group=(\d+), prefetch_step="),
    _said("offload-prefetch-step", "[PrefetchOffloader] Initialized", r", prefetch_step=(\d+), mode="),
    Sight("VLLM_COMPUTE_NANS_IN_LOGITS", "metric `vllm:corrupted_requests` is there", _nan_counter, _looks_for_nan),
    # vllm/v1/worker/cpu_worker.py, in GiB.
    _said("VLLM_CPU_KVCACHE_SPACE", "Explicitly set … for KV cache", r"Explicitly set \(([0-9.]+)/[0-9.]+\) GiB"),
    Sight("VLLM_ENABLE_V1_MULTIPROCESSING", "log line `Since VLLM_ENABLE_V1_MULTIPROCESSING is set to False`",
          _when("VLLM_ENABLE_V1_MULTIPROCESSING is set to False", 0)),
    _said("VLLM_KV_CACHE_LAYOUT", "Using … KV cache layout", _LAYOUT, _known_as(_LAYOUTS)),
    _said("VLLM_SSM_CONV_STATE_LAYOUT", "Setting SSM conv state layout to ", r"SSM conv state layout to (\w+)"),
)  # fmt: skip


_LIBRARY = "a library reads it and writes nothing"
_QUIET = "vLLM reads it and writes nothing"
_DEVELOPMENT = "only `/server_info` has it, which is there in a mode for development"

UNSEEN = {
    "HF_HUB_OFFLINE": _LIBRARY,
    "NUMBA_NUM_THREADS": _LIBRARY,
    "OMP_NUM_THREADS": _LIBRARY,
    "UCX_LOG_FILE": _LIBRARY,
    "UCX_NET_DEVICES": _LIBRARY,
    "UCX_PROTO_INFO": "tables in the log, which the check `transport` reads",
    "UCX_TLS": "the check `transport` reads what came of it",
    "VLLM_CPU_OMP_THREADS_BIND": _QUIET,
    "VLLM_DEEP_GEMM_WARMUP": _QUIET,
    "VLLM_ENGINE_READY_TIMEOUT_S": _QUIET,
    "VLLM_ROCM_MOE_PADDING": _QUIET,
    "chat-template": "nothing prints it; the text of a chat shows it, where a check asks for one",
    "disable-hybrid-kv-cache-manager": _DEVELOPMENT,
    "distributed-executor-backend": _DEVELOPMENT,
    "eplb-config.num_redundant_experts": _DEVELOPMENT,
    "eplb-config.step_interval": _DEVELOPMENT,
    "eplb-config.window_size": _DEVELOPMENT,
    "limit-mm-per-prompt.*": _DEVELOPMENT,
    "kv-transfer-config.kv_connector_extra_config.connectors.*": "the log names the MultiConnector alone",
    "kv-transfer-config.*kv_load_failure_policy": _DEVELOPMENT,
    "kv-transfer-config.*kv_role": _DEVELOPMENT,
    "kv-transfer-config.*cpu_bytes_to_use": _DEVELOPMENT,
    "kv-transfer-config.*enable_cross_layers_blocks": "the NIXL connector reads it up to 0.26 and writes nothing",
    "max-num-seqs": _DEVELOPMENT,
    "speculative-config.draft_sample_method": _DEVELOPMENT,
    "speculative-config.suffix_decoding_*": "nothing prints them; the counters show them, which are known to the unit",
    "speculative-config.prompt_lookup_max": _DEVELOPMENT,
    "speculative-config.prompt_lookup_min": _DEVELOPMENT,
}
"""What our cases ask for and nothing shows, and why."""
