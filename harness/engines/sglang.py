"""SGLang: servers, router, metrics. Checked against the sources of SGLang 0.5.17 and 0.5.23 and sglang-router 0.3.2."""

from __future__ import annotations

from harness.base import programs
from harness.base.domain import Probe, Server
from harness.base.settings import FlagValue
from harness.cases.model import Case, Role
from harness.cases.serve_settings import Serve
from harness.engines import counting
from harness.engines.capabilities import Rename
from harness.engines.case_keys import Keys
from harness.engines.device_sharing import Sharing
from harness.engines.engine import EngineSpec, Library, Place, flag_arguments, router
from harness.engines.inside import Inside
from harness.engines.metrics import Metric
from harness.engines.probes import common, sglang_probe
from harness.engines.sglang_sights import SIGHTS, UNSEEN
from harness.engines.sights import Asked, flattened

_ALGORITHMS = {"eagle3": "EAGLE3", "mtp": "NEXTN"}
_DRAFTER = "drafter"
_MODULE = "sglang.launch_server"
_ROUTER_MODULE = "sglang_router.launch_router"
_ENVIRONMENT = {
    # /health would ask for a token each time, and be late under load; readiness asks for one end to end anyway.
    "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",
}

# A counter with labels is not there before its first event, so a failure that never happened has no series. Tokens and
# requests are counted when a request finishes. Health probes, which generate a token, are counted by neither.
METRICS = (
    Metric("verifications", "sglang:spec_verify_calls_total"),
    Metric("generated_tokens", "sglang:generation_tokens_total"),
    Metric("finished_requests", "sglang:num_requests_total"),
    Metric("aborted_requests", "sglang:num_aborted_requests_total"),
    Metric("transfers", "sglang:kv_transfer_total_mb_count"),
    Metric("transfer_bytes", "sglang:kv_transfer_total_mb_sum", scale=1024 * 1024),
    Metric("failed_transfers", "sglang:num_transfer_failed_reqs_total"),
    Metric("failed_bootstraps", "sglang:num_bootstrap_failed_reqs_total"),
    Metric("all_prompt_tokens", "sglang:prompt_tokens_total"),
)

# Tokens that only the radix cache holds are not in use (`available` and `evictable` ones are taken off). The scheduler
# writes all three with its log lines, and when it idles every 30 seconds: what a step left there may be that old.
GAUGES = (
    Metric("running", "sglang:num_running_reqs"),
    Metric("waiting", "sglang:num_queue_reqs"),
    Metric("kv_usage", "sglang:token_usage"),
)
_IDLE_SECONDS = 45.0

# managers/tokenizer_manager.py: from the arrival of a request to its first token, and the mean time of each later one.
LATENCIES = (
    Metric("first_token_seconds", "sglang:time_to_first_token_seconds_sum"),
    Metric("first_tokens", "sglang:time_to_first_token_seconds_count"),
    Metric("between_tokens_seconds", "sglang:inter_token_latency_seconds_sum"),
    Metric("between_tokens", "sglang:inter_token_latency_seconds_count"),
)

# Tokens and requests are counted when a request ends; the others move meanwhile: at every interval of the scheduler's
# log, and with every fifty tokens of a request (managers/tokenizer_manager.py).
MOVING = (
    "sglang:generation_tokens_total",
    "sglang:prompt_tokens_total",
    "sglang:num_requests_total",
    "sglang:realtime_tokens_total",
    "sglang:forward_execution_seconds_total",
    "sglang:time_to_first_token_seconds_count",
    "sglang:inter_token_latency_seconds_count",
    "sglang:spec_verify_calls_total",
    "sglang:kv_transfer_total_mb_count",
)


def devices(serve: Serve) -> int:
    """Accelerators of one server: with data parallel attention, its ranks are inside the tensor parallel group."""
    inside = serve.flags.get("enable-dp-attention") is True
    return serve.tensor_parallel_size * (1 if inside else serve.data_parallel_size)


def _server(case: Case, place: Place, role: Role, name: str) -> Server:
    serve = case.serve_of(role)
    # Without a port of its own for torch.distributed, a server takes one that its neighbour may take too.
    ports = {"http": place.port(1), "nccl": place.port(1)}
    probes = [Probe("http", ports["http"], "/health", path="/health", host=place.host)]
    own = {**_ENVIRONMENT, "SGLANG_HOST_IP": place.host}  # where the KV side channels listen
    links = {serve.served_as: place.checkpoints[serve.model.name]}
    flags: dict[str, FlagValue] = {
        "model-path": serve.served_as,
        "served-model-name": serve.served_as,
        "host": place.host,
        "port": ports["http"],
        "nccl-port": ports["nccl"],
        **_settings(serve, role),
        **(_budget(place.share) if place.share else {}),
    }
    if serve.speculation and serve.speculation.model:
        links[_DRAFTER] = place.checkpoints[serve.speculation.model.name]
    if role == "prefill":
        ports["bootstrap"] = place.port(1)
        probes.append(Probe("http", ports["bootstrap"], "KV bootstrap", path="/health", host=place.host))
        flags["disaggregation-bootstrap-port"] = ports["bootstrap"]
    return Server(
        name=name,
        role=role,
        argv=(*(place.command or (place.python, "-m", _MODULE)), *flag_arguments(flags | serve.flags)),
        ports=ports,
        probes=tuple(probes),
        env={**own, **serve.env, **place.devices(devices(serve))},
        pass_env=tuple(serve.pass_env),
        links=links,
        has_metrics=True,
        host=place.host,
    )


def _budget(share: float) -> dict[str, FlagValue]:
    """Half of it for weights and KV cache, of what is free at its start; the rest is for CUDA itself and for steps."""
    return {"mem-fraction-static": round(share / 2, 4)}


def _settings(serve: Serve, role: Role) -> dict[str, FlagValue]:
    """Flags that a case asks for in other words than the engine's."""
    flags: dict[str, FlagValue] = {
        "tp-size": serve.tensor_parallel_size,
        "dp-size": serve.data_parallel_size,
        "enable-metrics": True,
    }
    if serve.speculation:
        flags |= _speculation(serve)
    if role != "server":
        flags["disaggregation-mode"] = role
    if serve.kv_transfer:
        flags["disaggregation-transfer-backend"] = serve.kv_transfer.connector
    return flags


def _asks(case: Case, role: Role) -> Asked:
    serve = case.serve_of(role)
    return {**flattened(_settings(serve, role) | serve.flags), **serve.env}


def _speculation(serve: Serve) -> dict[str, FlagValue]:
    assert serve.speculation is not None
    chosen = serve.speculation
    flags: dict[str, FlagValue | None] = {
        "speculative-algorithm": _ALGORITHMS[chosen.method],
        "speculative-draft-model-path": _DRAFTER if chosen.model else None,
        "speculative-num-steps": chosen.num_steps,
        "speculative-eagle-topk": chosen.topk,
        "speculative-num-draft-tokens": chosen.num_draft_tokens,
    }
    return {name: value for name, value in flags.items() if value is not None}


def _router(place: Place, behind: list[Server]) -> Server:
    """sglang-router as the small balancer of SGLang's own tests: it picks at random and does not retry."""
    ports = {"http": place.port(1)}
    flags: dict[str, FlagValue] = {
        "pd-disaggregation": True,
        "mini-lb": True,
        "host": place.host,
        "port": ports["http"],
    }
    arguments = flag_arguments(flags)
    for server in behind:
        bootstrap = [str(server.ports["bootstrap"])] if "bootstrap" in server.ports else []
        arguments += [f"--{server.role}", server.url, *bootstrap]
    return router(place, _ROUTER_MODULE, arguments, ports, "/health")


# sglang/srt/layers/moe/token_dispatcher and sglang/srt/disaggregation. Mooncake and NIXL that move the KV cache are
# transports, which the canary really loads.
_LIBRARIES = (
    Library("moe-a2a-backend", "deepep*", "deep_ep"),
    Library("moe-a2a-backend", "mooncake", "mooncake"),
    Library("moe-a2a-backend", "mori", "mori"),
    Library("moe-a2a-backend", "nixl", "nixl_ep"),
    Library("moe-a2a-backend", "flashinfer", "flashinfer", required=True),
    Library("*attention-backend", "flashinfer", "flashinfer", required=True),
    Library("disaggregation-transfer-backend", "mori", "mori"),
)

_TREE = ("num_steps", "topk", "num_draft_tokens")

ENGINE = EngineSpec(
    name="sglang",
    sources="python/sglang/",
    paths=(
        "python/sglang/launch_server.py",
        "python/sglang/srt/configs/",
        "python/sglang/srt/entrypoints/",
        "python/sglang/srt/environ.py",
        "python/sglang/srt/layers/attention/",
        "python/sglang/srt/managers/",
        "python/sglang/srt/mem_cache/",
        "python/sglang/srt/model_executor/",
        "python/sglang/srt/server_args.py",
    ),
    command=("sglang", "serve"),
    help_ends="--- Help for Diffusion Model Server ---",
    serves=_MODULE,
    module=_MODULE,
    router_module=_ROUTER_MODULE,
    distributions=(
        "sglang",
        "sglang-kernel",
        "sgl-kernel",
        "torch",
        "transformers",
        "flashinfer-python",
        "mooncake-transfer-engine",
        "mooncake-transfer-engine-cuda13",
        "nixl",
        "sglang-router",
    ),
    server=_server,
    router=_router,
    devices=devices,
    speculation={"eagle3": Keys(("model", *_TREE)), "mtp": Keys(_TREE, ("model",))},
    kv_connectors={"mooncake": Keys(()), "nixl": Keys(())},
    metrics=METRICS,
    counts=frozenset({"drafts", "transfers", "finished_requests"}),
    acceptance=counting.verifications,
    kv_transfer=counting.transfers,
    moving=MOVING,
    inside=Inside(gauges=GAUGES, seconds=_IDLE_SECONDS, latencies=LATENCIES),
    block_flag="page-size",
    no_prefix_cache=("disable-radix-cache", True),
    prefixes=("SGLANG_",),
    probe=programs.text(common, sglang_probe),
    renames=(
        # Chose between two implementations of speculation, of which the newer one is left.
        Rename("", "SGLANG_ENABLE_SPEC_V2"),
        Rename("--mamba-radix-cache-strategy", "--mamba-scheduler-strategy"),
        Rename("SGLANG_TEST_DISAGG_FAILURE_PROB", "DISAGGREGATION_TEST_FAILURE_PROB"),
    ),
    # sglang/srt/eplb/eplb_manager.py.
    events={"rearrangements": lambda log: log.count("[EPLBManager] rebalance end")},
    echoes=("Received sigquit from a child process", "scheduler died during initialization"),
    # Refused while a request runs or waits; with a timeout it waits for that. Resets the prefix cache too.
    reset="/flush_cache?timeout=10",
    info="/server_info",
    asks=_asks,
    sights=SIGHTS,
    unseen=UNSEEN,
    libraries=_LIBRARIES,
    sharing=Sharing(_budget),
)
