"""Mutants of vLLM's rejection sampler, which verifies drafts."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import (
    ACCEPTANCE,
    CONTRACT_DRAFTS,
    EAGLE3,
    MTP,
    NGRAM,
    REJECTION,
    SAMPLED_DRAFTS,
    SAMPLED_LIKELY_DRAFTS,
    TEXTS,
    UNSET_TEMPERATURE,
)

DECLARED = Declared("rejection sampler", platform="cpu")  # of the first model runner
rejecting = DECLARED.mutant


@rejecting(
    "bonus_token_lost",
    ["vllm-project/vllm-ascend#7290"],
    "the token after a step whose drafts were all accepted is thrown away",
    module=REJECTION,
    cases=[EAGLE3, MTP, NGRAM],
    checks=ACCEPTANCE,
)
def _bonus_lost(found: Any, fault: Fault) -> None:
    def broken(original: Any, *arguments: Any, **named: Any) -> Any:
        tokens = original(*arguments, **named)
        if tokens.shape[1] > 1 and bool((tokens[:, -1] != found.PLACEHOLDER_TOKEN_ID).any()):
            fault.hit()
            tokens[:, -1] = found.PLACEHOLDER_TOKEN_ID
        return tokens

    fault.replace(found, "rejection_sample", broken)


@rejecting(
    "wrong_draft_accepted",
    ["vllm-project/vllm#40875"],
    "one step in twenty takes its first draft whatever the model says",
    module=REJECTION,
    cases=[EAGLE3, MTP, NGRAM],
    checks=TEXTS,
)
def _wrong_draft(found: Any, fault: Fault) -> None:
    def broken(original: Any, draft_token_ids: Any, num_draft_tokens: Any, *arguments: Any, **named: Any) -> Any:
        tokens = original(draft_token_ids, num_draft_tokens, *arguments, **named)
        start = 0
        for row, number in enumerate(num_draft_tokens):
            if number and tokens[row, 0] != draft_token_ids[start] and fault.every(20):
                tokens[row, 0] = draft_token_ids[start]
            start += number
        return tokens

    fault.replace(found, "rejection_sample", broken)


@rejecting(
    "right_draft_rejected",
    ["vllm-project/vllm#26191"],
    "one step in ten accepts no draft, though all are right",
    module=REJECTION,
    cases=[EAGLE3, MTP, NGRAM],
    checks=ACCEPTANCE,
)
def _right_draft(found: Any, fault: Fault) -> None:
    def broken(original: Any, *arguments: Any, **named: Any) -> Any:
        tokens = original(*arguments, **named)
        for row in tokens:
            if len(row) > 1 and row[1] != found.PLACEHOLDER_TOKEN_ID and fault.every(10):
                row[1:] = found.PLACEHOLDER_TOKEN_ID
        return tokens

    fault.replace(found, "rejection_sample", broken)


@rejecting(
    "uniform_too_small",
    ["vllm-project/vllm#13196"],
    "at a temperature drafts are accepted more often than they may be: the random numbers are a tenth too small",
    module=REJECTION,
    cases=[SAMPLED_LIKELY_DRAFTS, SAMPLED_DRAFTS],
    checks=("sampling",),
    unseen=UNSET_TEMPERATURE,
)
def _uniform(found: Any, fault: Fault) -> None:
    def broken(original: Any, *arguments: Any, **named: Any) -> Any:
        fault.hit()
        return original(*arguments, **named) * 0.9

    fault.replace(found, "generate_uniform_probs", broken)


@rejecting(
    "recovered_from_neighbour",
    ["vllm-project/vllm#9441"],
    "at a temperature a rejected draft is replaced by what was drawn for another position",
    module=REJECTION,
    cases=[SAMPLED_DRAFTS],
    checks=("sampling",),
    unseen=UNSET_TEMPERATURE,
)
def _recovered(found: Any, fault: Fault) -> None:
    def broken(original: Any, *arguments: Any, **named: Any) -> Any:
        fault.hit()
        return original(*arguments, **named).roll(1)

    fault.replace(found, "sample_recovered_tokens", broken)


@rejecting(
    "verified_without_parameters",
    ["vllm-project/vllm#9834", "vllm-project/vllm#42802"],
    "drafts are verified at temperature 1, without top-k and top-p",
    module=REJECTION,
    cases=[SAMPLED_DRAFTS],
    checks=("sampling",),
    unseen=UNSET_TEMPERATURE,
)
def _verified(found: Any, fault: Fault) -> None:
    def broken(original: Any, logits: Any, counts: Any, metadata: Any) -> Any:
        if metadata.all_greedy:
            return original(logits, counts, metadata)
        fault.hit()
        return logits

    fault.replace(found, "apply_sampling_constraints", broken)


@rejecting(
    "verified_without_penalties",
    ["vllm-project/vllm#22987"],
    "penalties are left out where drafts are verified",
    module=REJECTION,
    cases=[CONTRACT_DRAFTS],
    checks=("contract",),
)
def _unpenalized(found: Any, fault: Fault) -> None:
    def broken(original: Any, logits: Any, metadata: Any, *arguments: Any, **named: Any) -> Any:
        if metadata.no_penalties:
            return original(logits, metadata, *arguments, **named)
        fault.hit()
        return logits

    fault.replace(found.RejectionSampler, "apply_penalties", broken)


@rejecting(
    "verified_logprobs_flat",
    ["vllm-project/vllm#29216", "vllm-project/vllm#30846", "vllm-project/vllm#38711"],
    "log probabilities of verified tokens come from logits that are all zero",
    module=REJECTION,
    cases=[CONTRACT_DRAFTS],
    checks=("contract",),
)
def _flat(found: Any, fault: Fault) -> None:
    def broken(
        original: Any, self: Any, most: int, metadata: Any, logits: Any, target: Any, bonus: Any, *arguments: Any
    ) -> Any:
        fault.hit()
        return original(self, most, metadata, logits, target * 0, bonus * 0, *arguments)

    fault.replace(found.RejectionSampler, "_get_logprobs_tensors", broken)
