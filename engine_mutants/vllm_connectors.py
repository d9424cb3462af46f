"""Mutants of vLLM's KV connectors, on both sides, and of prefill/decode disaggregation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import AT_REST, EDGES, NIXL, SCHEDULER, TEXTS, TWINS

_WORKER, _PULL = f"{NIXL}.base_worker", f"{NIXL}.pull_worker"
_PULL_SCHEDULER = f"{NIXL}.pull_scheduler"

DECLARED = Declared("KV connector")
mutant = DECLARED.mutant


def _on_decode(fault: Fault) -> bool:
    return fault.server.startswith("decode")


def _read(change: Callable[[Any, int], Any]) -> Any:
    """A patch that changes which remote blocks are read: ids as (regions, blocks), and blocks of the other side.

    As many bytes travel as before, into the same places.
    """

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
            ids = original(self, *arguments, **named)
            blocks = sum(len(group) for group in named["block_ids"])
            remote = named.get("block_size_ratio", 1) is None
            if not (_on_decode(fault) and remote and blocks) or self._has_mamba:
                return ids
            changed = change(ids.reshape(-1, blocks), named["dst_num_blocks"])
            if (changed != ids.reshape(-1, blocks)).any():
                fault.hit()
            return changed.ravel()

        fault.replace(found.NixlBaseConnectorWorker, "_compute_desc_ids", broken)

    return patch


def _layer(number: int) -> Callable[[Any, int], Any]:
    """One layer is read from the one beside it."""

    def change(ids: Any, blocks: int) -> Any:
        changed = ids.copy()
        beside = number - 1 if number < 0 or number == len(ids) - 1 else number + 1
        changed[number] = ids[number] + (beside - number) * blocks
        return changed

    return change


def _column(wrong: int, right: int) -> Callable[[Any, int], Any]:
    """One block of each layer is read from where another is."""

    def change(ids: Any, _blocks: int) -> Any:
        changed = ids.copy()
        if ids.shape[1] > 1:
            changed[:, wrong] = ids[:, right]
        return changed

    return change


def _rotated(ids: Any, _blocks: int) -> Any:
    changed = ids.copy()
    changed[:, 1:], changed[:, 0] = ids[:, :-1], ids[:, -1]
    return changed


def _one_share(ids: Any, _blocks: int) -> Any:
    """A single block of a single layer: the smallest thing that travels."""
    changed = ids.copy()
    if ids.shape[0] > 2 and ids.shape[1] > 1:
        changed[2, 0] = ids[2, 1]
    return changed


for _name, _bugs, _breaks, _change in (
    ("kv_first_layer_stale", ["vllm-project/vllm#48412"], "the first layer gets the cache of the second", _layer(0)),
    ("kv_middle_layer_stale", ["vllm-project/vllm#48412"], "layer 4 gets the cache of layer 5", _layer(4)),
    ("kv_last_layer_stale", ["vllm-project/vllm#48412"], "the last layer gets the cache of the one before", _layer(-1)),
    (
        "kv_first_block_stale",
        ["vllm-project/vllm#46951", "vllm-project/vllm#35092"],
        "the second block is read twice and the first never",
        _column(0, 1),
    ),
    (
        "kv_last_block_stale",
        ["vllm-project/vllm#46951"],
        "the last block is read from where the first is",
        _column(-1, 0),
    ),
    (
        "kv_blocks_rotated",
        ["ai-dynamo/dynamo#63", "vllm-project/vllm#50558"],
        "remote blocks are read in an order that is rotated by one",
        _rotated,
    ),
    ("kv_one_block_stale", ["vllm-project/vllm#46951"], "one block of one layer is another one", _one_share),
):
    mutant(
        _name,
        _bugs,
        _breaks,
        module=_WORKER,
        # Beside a drafter the last layer is its own, which reads its cache at the newest token alone.
        cases=[EDGES] if _name == "kv_last_layer_stale" else [TWINS, EDGES],
        checks=TEXTS,
    )(_read(_change))


@mutant(
    "kv_of_another_request",
    ["vllm-project/vllm#39589", "vllm-project/vllm#32255"],
    "every fifth request reads the blocks of the one before it",
    module=_PULL,
    cases=[TWINS],
    checks=TEXTS,
)
def _of_another(found: Any, fault: Fault) -> None:
    before: list[Any] = []

    def broken(original: Any, self: Any, req_id: str, meta: Any) -> Any:
        ids = meta.remote.block_ids
        same = before and [len(each) for each in before[0]] == [len(each) for each in ids]
        if same and fault.every(5):
            meta.remote.block_ids = before[0]
        before[:] = [ids]
        return original(self, req_id, meta)

    fault.replace(found.NixlPullConnectorWorker, "_read_blocks_for_req", broken)


@mutant(
    "kv_last_block_computed",
    ["vllm-project/vllm#26896"],
    "decode asks for whole blocks only, and computes the rest of the prompt again",
    module=_PULL_SCHEDULER,
    cases=[TWINS],
    checks=("kv_transfer", *TEXTS),
)
def _last_computed(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, num_computed_tokens: int) -> Any:
        count, later = original(self, request, num_computed_tokens)
        if later and count > 32 and count % 32:
            fault.hit()
            count -= count % 32
        return count, later

    fault.replace(found.NixlPullConnectorScheduler, "get_num_new_matched_tokens", broken)


@mutant(
    "kv_computed_again",
    ["vllm-project/vllm#34896", "vllm-project/vllm#52234"],
    "decode computes every fourth prompt by itself and says nothing",
    module=_PULL_SCHEDULER,
    cases=[TWINS],
    checks=("kv_transfer", *TEXTS),
)
def _computed_again(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, num_computed_tokens: int) -> Any:
        count, later = original(self, request, num_computed_tokens)
        return (0, False) if count and fault.every(4) else (count, later)

    fault.replace(found.NixlPullConnectorScheduler, "get_num_new_matched_tokens", broken)


@mutant(
    "prefill_names_wrong_block",
    ["vllm-project/vllm#46951", "vllm-project/vllm#35092"],
    "the prefill side says that the last block of a prompt is where the first is",
    module=_PULL_SCHEDULER,
    cases=[TWINS],
    checks=TEXTS,
)
def _names_wrong(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, block_ids: Any) -> Any:
        delayed, params = original(self, request, block_ids)
        if params and params.get("do_remote_prefill") and any(len(group) > 1 for group in params["remote_block_ids"]):
            fault.hit()
            params["remote_block_ids"] = [[*group[:-1], group[0]] for group in params["remote_block_ids"]]
        return delayed, params

    fault.replace(found.NixlPullConnectorScheduler, "request_finished", broken)


@mutant(
    "prefill_frees_at_once",
    ["vllm-project/vllm#18211", "vllm-project/vllm#46951"],
    "the prefill side gives blocks back before they were fetched",
    module=_PULL_SCHEDULER,
    cases=[TWINS],
    checks=(*TEXTS, "kv_transfer", *AT_REST, "eval"),
    dirty=True,
    unseen="nothing takes the blocks before they are read: the cache is much larger than what is in flight",
)
def _frees_at_once(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, block_ids: Any) -> Any:
        delayed, params = original(self, request, block_ids)
        if delayed:
            fault.hit()
            self._reqs_need_send.pop(request.request_id, None)
        return False, params

    fault.replace(found.NixlPullConnectorScheduler, "request_finished", broken)


@mutant(
    "notifications_lost",
    ["vllm-project/vllm#46283"],
    "the prefill side does not see that blocks were fetched, and keeps them until their lease ends",
    module=_PULL,
    cases=[TWINS],
    checks=(*AT_REST, "kv_transfer"),
    dirty=True,
    kind="leak",
)
def _notifications_lost(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any) -> Any:
        if not fault.server.startswith("prefill"):
            return original(self)
        if self.nixl_wrapper.get_new_notifs():
            fault.hit()
        return set()

    fault.replace(found.NixlPullConnectorWorker, "_get_new_notifs", broken)


@mutant(
    "prefill_counts_failures",
    ["vllm-project/vllm#52234"],
    "every fetch that the prefill side sees counts there as a failed notification too",
    module=_PULL,
    cases=[TWINS],
    checks=("kv_transfer",),
    kind="metrics",
)
def _counts_failures(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any) -> Any:
        done = original(self)
        if done and fault.server.startswith("prefill"):
            fault.hit()
            self.xfer_stats.record_failed_notification()
        return done

    fault.replace(found.NixlPullConnectorWorker, "_get_new_notifs", broken)


@mutant(
    "first_token_twice",
    ["llumnix-project/llumnix-ray#277"],
    "decode emits the token that prefill made twice",
    module=SCHEDULER,
    cases=[TWINS],
    checks=TEXTS,
)
def _first_twice(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, new_token_ids: Any, *arguments: Any, **named: Any) -> Any:
        first = new_token_ids and not request.num_output_tokens and request.kv_transfer_params
        if first and _on_decode(fault):
            fault.hit()
            new_token_ids = [new_token_ids[0], *new_token_ids]
        return original(self, request, new_token_ids, *arguments, **named)

    fault.replace(found.Scheduler, "_update_request_with_output", broken)


@mutant(
    "kv_over_tcp",
    ["vllm-project/vllm#34054"],
    "KV caches travel over TCP, whatever faster there is",
    module=_WORKER,
    cases=[TWINS],
    checks=(),
    switched=False,
    unseen="no case says over what KV caches must travel, which `transport` would judge: that is a host's to say",
)
def _over_tcp(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> None:
        fault.hit()
        found.os.environ["UCX_TLS"] = "tcp,self"
        original(self, *arguments, **named)

    fault.replace(found.NixlBaseConnectorWorker, "__init__", broken)
