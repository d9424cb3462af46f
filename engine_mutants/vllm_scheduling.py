"""Mutants of vLLM's scheduler, its model runner's inputs and its chunked prefill."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import (
    AT_REST,
    CHUNKED,
    CONTRACT,
    EAGLE3,
    MTP,
    NGRAM,
    NGRAM_EVERY_STEP,
    QUESTIONS,
    RUNNER,
    SCHEDULER,
    TEXTS,
    TWINS,
)

_STOPPING = "vllm.v1.core.sched.utils"

DECLARED = Declared("scheduler")
mutant = DECLARED.mutant


@mutant(
    "chunk_boundary_token",
    ["sgl-project/sglang#26800", "vllm-project/vllm#26231", "vllm-project/vllm#29216"],
    "a prompt that is computed in chunks has another first token in every chunk but the first",
    module=RUNNER,
    platform="cpu",
    cases=[CHUNKED],
    checks=TEXTS,
    kind="chunked prefill",
)
def _chunk_boundary(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, scheduler_output: Any, *arguments: Any, **named: Any) -> Any:
        batch = self.input_batch
        for row in range(batch.num_reqs):
            done = int(batch.num_computed_tokens_cpu[row])
            # What is left is more than the last token, which follows a hit of the prefix cache or a transfer too.
            if 0 < done < int(batch.num_prompt_tokens[row]) - 1 and fault.server == "server":
                fault.hit()
                batch.token_ids_cpu[row, done] = 1
        return original(self, scheduler_output, *arguments, **named)

    fault.replace(found.GPUModelRunner, "_prepare_inputs", broken)


@mutant(
    "wide_batch_token",
    ["vllm-project/vllm#17886", "vllm-project/vllm#10336"],
    "with more than eight requests the last one's newest token is another",
    module=RUNNER,
    platform="cpu",
    cases=[CHUNKED],
    checks=TEXTS,
)
def _wide_batch(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, scheduler_output: Any, *arguments: Any, **named: Any) -> Any:
        batch = self.input_batch
        if batch.num_reqs > 8:
            fault.hit()
            row = batch.num_reqs - 1
            batch.token_ids_cpu[row, batch.num_computed_tokens_cpu[row]] = 1
        return original(self, scheduler_output, *arguments, **named)

    fault.replace(found.GPUModelRunner, "_prepare_inputs", broken)


@mutant(
    "logits_of_neighbour",
    ["vllm-project/vllm#40766", "vllm-project/vllm#26231"],
    "with three or more requests the last one is sampled from the row before its own",
    module=RUNNER,
    platform="cpu",
    cases=[EAGLE3, MTP, NGRAM, TWINS],
    checks=TEXTS,
)
def _logits_of_neighbour(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        rows, drafted, most = original(self, *arguments, **named)
        if self.input_batch.num_reqs > 2:
            fault.hit()
            rows = rows.clone()
            rows[-1] -= 1
            if drafted is not None:
                drafted.logits_indices = rows
        return rows, drafted, most

    fault.replace(found.GPUModelRunner, "_prepare_inputs", broken)


@mutant(
    "resumed_positions",
    ["vllm-project/vllm#16832", "vllm-project/vllm-ascend#11334"],
    "a request that was preempted goes on as if nothing of it had to be computed again",
    module=SCHEDULER,
    cases=[QUESTIONS],
    checks=(*TEXTS, "eval"),
    dirty=True,
    unseen="the cache of every case holds all requests in flight, so none is preempted",
)
def _resumed(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, *arguments: Any, **named: Any) -> None:
        done = request.num_computed_tokens
        original(self, request, *arguments, **named)
        fault.hit()
        request.num_computed_tokens = done

    fault.replace(found.Scheduler, "_preempt_request", broken)


@mutant(
    "one_token_too_many",
    ["vllm-project/vllm#42533"],
    "an answer has one token more than max_tokens",
    module=_STOPPING,
    cases=[NGRAM, NGRAM_EVERY_STEP, EAGLE3],
    checks=(*TEXTS, "validity", "draft_counts"),
)
def _too_many(found: Any, fault: Fault) -> None:
    def broken(original: Any, request: Any, max_model_len: int) -> Any:
        stopped = original(request, max_model_len)
        capped = request.status == found.RequestStatus.FINISHED_LENGTH_CAPPED
        if stopped and capped and request.num_output_tokens == request.max_tokens and request.max_tokens > 1:
            fault.hit()
            request.status = found.RequestStatus.RUNNING
            return False
        return stopped

    fault.replace(found, "check_stop", broken)


@mutant(
    "finish_reason_length",
    ["sgl-project/sglang#31599"],
    "an answer that stopped says that it was as long as it might be",
    module=_STOPPING,
    cases=[EAGLE3, NGRAM],
    checks=("validity", "parity"),
    kind="API",
)
def _finish_reason(found: Any, fault: Fault) -> None:
    def broken(original: Any, request: Any, max_model_len: int) -> Any:
        stopped = original(request, max_model_len)
        if stopped and request.status == found.RequestStatus.FINISHED_STOPPED:
            fault.hit()
            request.status = found.RequestStatus.FINISHED_LENGTH_CAPPED
        return stopped

    fault.replace(found, "check_stop", broken)


@mutant(
    "end_of_text_missed",
    ["vllm-project/vllm#49391", "sgl-project/sglang#23802"],
    "one answer in five goes on after its end",
    module=_STOPPING,
    cases=[EAGLE3, MTP],
    checks=(*TEXTS, "draft_counts"),
)
def _end_missed(found: Any, fault: Fault) -> None:
    def broken(original: Any, request: Any, max_model_len: int) -> Any:
        stopped = original(request, max_model_len)
        ended = stopped and request.status == found.RequestStatus.FINISHED_STOPPED
        if ended and request.num_output_tokens < request.max_tokens and fault.every(5):
            request.status = found.RequestStatus.RUNNING
            return False
        return stopped

    fault.replace(found, "check_stop", broken)


@mutant(
    "blocks_never_freed",
    ["vllm-project/vllm#46283"],
    "the KV blocks of a finished request are never given back",
    module=SCHEDULER,
    cases=[EAGLE3, TWINS],
    checks=AT_REST,
    dirty=True,
    kind="leak",
)
def _never_freed(found: Any, fault: Fault) -> None:
    def broken(_original: Any, self: Any, request: Any) -> None:
        fault.hit()
        del self.requests[request.request_id]

    fault.replace(found.Scheduler, "_free_blocks", broken)


@mutant(
    "cancelled_goes_on",
    ["vllm-project/vllm#46283"],
    "a request whose client went away is computed to its end",
    module=SCHEDULER,
    cases=[CONTRACT],
    checks=("contract", *AT_REST),
    kind="leak",
)
def _cancelled(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request_ids: Any, finished_status: Any, *arguments: Any) -> Any:
        if finished_status == found.RequestStatus.FINISHED_ABORTED:
            fault.hit()
            return []
        return original(self, request_ids, finished_status, *arguments)

    fault.replace(found.Scheduler, "finish_requests", broken)
