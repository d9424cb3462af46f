"""vLLM's counters and gauges by the harness's names, and lines of its log that say that something is broken."""

from __future__ import annotations

from harness.engines.inside import Infos
from harness.engines.metrics import Metric

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
    # Blocks may have been given to another request before their transfer was over.
    Metric("notifications_after_expiry", "vllm:nixl_num_notifications_after_expiry_total", since="0.32.0"),
    # There only where the engine is told to look for NaN: VLLM_COMPUTE_NANS_IN_LOGITS.
    Metric("corrupted_requests", "vllm:corrupted_requests_total"),
    # Its name says success; it counts requests that were aborted or broke too, each under its reason.
    Metric("finished_requests", "vllm:request_success_total", by="finished_reason"),
    # What the sums are made of, and what they must agree with: harness/engines/counting.py, `contradictions`.
    Metric("all_prompt_tokens", "vllm:prompt_tokens_total"),
    Metric("generated_tokens", "vllm:generation_tokens_total"),
    Metric("preempted_requests", "vllm:num_preemptions_total"),
    Metric("transfer_sizes", "vllm:nixl_bytes_transferred_count"),
)

# vllm/v1/core/block_pool.py: blocks that are cached and nobody refers to count as free, so an idle server has 0.
GAUGES = (
    Metric("running", "vllm:num_requests_running"),
    Metric("waiting", "vllm:num_requests_waiting"),
    Metric("kv_usage", "vllm:kv_cache_usage_perc"),
)

# vllm/v1/metrics/loggers.py: from the arrival of a request to its first token, and from one step with tokens of it to
# the next, so that several accepted tokens come after one such time.
LATENCIES = (
    Metric("first_token_seconds", "vllm:time_to_first_token_seconds_sum"),
    Metric("first_tokens", "vllm:time_to_first_token_seconds_count"),
    Metric("between_tokens_seconds", "vllm:inter_token_latency_seconds_sum"),
    Metric("between_tokens", "vllm:inter_token_latency_seconds_count"),
)

# vllm/distributed/kv_transfer/kv_connector/v1/nixl and vllm/v1/core/sched/scheduler.py. Answers may come all the same.
FINDINGS = {
    "KV blocks were read that may belong to another request": r"(?i)potentially invalid KV blocks",
    "a transfer was reported of a request that had expired": r"Unrecognized request \S+ notif",
    "KV blocks expired before they were read": r"Releasing expired KV blocks",
    "KV blocks could not be loaded": r"KV load failure",
}


def capacity(infos: Infos) -> int | None:
    """Blocks of the rank that has fewest, times the tokens of one."""
    told = infos.get("vllm:cache_config_info", ())
    pairs = [(each.get("num_gpu_blocks", ""), each.get("block_size", "")) for each in told]
    rooms = [int(blocks) * int(size) for blocks, size in pairs if blocks.isdecimal() and size.isdecimal()]
    return min(rooms) if rooms and len(rooms) == len(told) else None


def cache_bytes(infos: Infos) -> int:
    """Of ranks that keep prefixes: a block is written again only when none is left that was never written.

    Without prefix caching the block that was freed last is the next one, so few are ever touched.
    """
    told = infos.get("vllm:cache_config_info", ())
    kept = [each.get("kv_cache_memory_bytes", "") for each in told if each.get("enable_prefix_caching") == "True"]
    return sum(int(size) for size in kept if size.isdecimal())


# vllm/v1/metrics/loggers.py: counted after every step of the engine.
MOVING = (
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:prompt_tokens_by_source_total",
    "vllm:iteration_tokens_total_count",
    "vllm:request_success_total",
    "vllm:spec_decode_num_drafts_total",
    "vllm:nixl_xfer_time_seconds_count",
)
