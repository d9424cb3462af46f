"""Mutants of what vLLM counts and shows on /metrics."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import (
    ACCEPTANCE,
    AT_REST,
    EAGLE3,
    EDGES,
    MTP,
    NGRAM,
    NIXL,
    SCHEDULER,
    TWINS,
)

_SPECULATION = "vllm.v1.spec_decode.metrics"
_STATS = "vllm.v1.metrics.stats"

DECLARED = Declared("metrics")
mutant = DECLARED.mutant


def _observed(change: Any) -> Any:
    """A patch that changes what was counted of one step's drafts."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, num_draft_tokens: int, num_accepted_tokens: int) -> None:
            original(self, num_draft_tokens, num_accepted_tokens)
            change(self, num_draft_tokens, num_accepted_tokens, fault)

        fault.replace(found.SpecDecodingStats, "observe_draft", broken)

    return patch


def _bonus_counted(stats: Any, _drafted: int, _accepted: int, fault: Fault) -> None:
    fault.hit()
    stats.num_accepted_tokens += 1


def _shifted(stats: Any, _drafted: int, accepted: int, fault: Fault) -> None:
    positions = stats.num_accepted_tokens_per_pos
    if 0 < accepted < len(positions):
        fault.hit()
        positions[accepted - 1] -= 1
        positions[accepted] += 1


def _tenth_uncounted(stats: Any, drafted: int, _accepted: int, fault: Fault) -> None:
    if fault.every(10):
        stats.num_drafts -= 1
        stats.num_draft_tokens -= drafted


for _name, _bugs, _breaks, _change in (
    ("accepted_counts_bonus", ["vllm-project/vllm#56101"], "the bonus token counts as accepted", _bonus_counted),
    (
        "positions_counted_late",
        ["vllm-project/speculators#1095", "vllm-project/vllm#16665"],
        "what was accepted at a position is counted at the next",
        _shifted,
    ),
    ("drafts_uncounted", ["vllm-project/vllm#16665"], "one draft in ten is not counted", _tenth_uncounted),
):
    mutant(_name, _bugs, _breaks, module=_SPECULATION, cases=[EAGLE3, MTP, NGRAM], checks=ACCEPTANCE)(
        _observed(_change)
    )


@mutant(
    "counters_begin_anew",
    ["vllm-project/vllm#36451"],
    "in the middle of the evaluation the counters of drafts begin at zero again",
    module=_SPECULATION,
    cases=[EAGLE3],
    checks=("eval", "draft_counts", "evidence"),
    dirty=True,
)
def _anew(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, stats: Any, engine_idx: int = 0) -> None:
        original(self, stats, engine_idx)
        if fault.hit() == 200:
            for counter in (
                self.counter_spec_decode_num_drafts[engine_idx],
                self.counter_spec_decode_num_draft_tokens[engine_idx],
                self.counter_spec_decode_num_accepted_tokens[engine_idx],
            ):
                counter.reset()

    fault.replace(found.SpecDecodingProm, "observe", broken)


def _sources(change: Any) -> Any:
    """A patch that changes what was counted of a prompt, by where its tokens came from."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, prefill_stats: Any) -> None:
            original(self, prefill_stats)
            change(self, prefill_stats, fault)

        fault.replace(found.PromptTokenStats, "update_from_output", broken)

    return patch


def _hit_twice(stats: Any, prefill: Any, fault: Fault) -> None:
    if prefill.num_local_cached_tokens:
        fault.hit()
        stats.local_cache_hit += prefill.num_local_cached_tokens


def _as_local(stats: Any, prefill: Any, fault: Fault) -> None:
    if prefill.num_external_cached_tokens:
        fault.hit()
        stats.external_kv_transfer -= prefill.num_external_cached_tokens
        stats.local_cache_hit += prefill.num_external_cached_tokens


mutant(
    "prefix_hit_counted_twice",
    ["vllm-project/vllm#48860", "vllm-project/vllm#43736"],
    "tokens that were found in the prefix cache count twice",
    module=_STATS,
    cases=[EDGES],
    checks=("kv_transfer",),
)(_sources(_hit_twice))

mutant(
    "transfer_counted_as_hit",
    ["vllm-project/vllm#48860"],
    "tokens that were transferred count as found in the own prefix cache",
    module=_STATS,
    cases=[TWINS],
    checks=("kv_transfer",),
)(_sources(_as_local))


@mutant(
    "requests_counted_twice",
    ["vllm-project/vllm#5250"],
    "a request that ended counts twice",
    module=_STATS,
    cases=[EAGLE3, NGRAM],
    checks=("validity", "evidence", "eval"),
    dirty=True,
)
def _twice(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        fault.hit()
        original(self, *arguments, **named)

    fault.replace(found.IterationStats, "update_from_finished_request", broken)


@mutant(
    "usage_gauge_stuck",
    ["vllm-project/vllm#20302"],
    "the gauge of used KV cache says a tenth, also when nothing runs",
    module=SCHEDULER,
    cases=[EAGLE3],
    checks=AT_REST,
)
def _gauge(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        stats = original(self, *arguments, **named)
        if stats is not None:
            fault.hit()
            stats.kv_cache_usage = 0.1
        return stats

    fault.replace(found.Scheduler, "make_stats", broken)


@mutant(
    "transfers_uncounted",
    ["vllm-project/vllm#56101"],
    "every third transfer of KV caches is not counted",
    module=f"{NIXL}.stats",
    cases=[TWINS],
    checks=("kv_transfer",),
)
def _uncounted(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> None:
        if not fault.every(3):
            original(self, *arguments, **named)

    fault.replace(found.NixlKVConnectorStats, "record_transfer", broken)


@mutant(
    "prefill_counts_expired",
    ["vllm-project/vllm#46951"],
    "the prefill side says that leases ended before their blocks were fetched",
    module=f"{NIXL}.base_worker",
    cases=[TWINS],
    checks=("kv_transfer",),
)
def _expired(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, done_sending: Any) -> None:
        original(self, done_sending)
        if done_sending and fault.server.startswith("prefill"):
            fault.hit()
            self.xfer_stats.record_kv_expired_req()

    fault.replace(found.NixlBaseConnectorWorker, "_reap_expired_send_leases", broken)
