"""Mutants of vLLM's proposers that are models: EAGLE3, MTP, draft models."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import (
    ACCEPTANCE,
    CHUNKED,
    DRAFT_MODEL,
    EAGLE3,
    MTP,
    PROPOSER,
    SCHEDULER,
    TWINS,
)

_EAGLE3_MODEL = "vllm.model_executor.models.llama_eagle3"
_MIMO = "vllm.model_executor.models.mimo_mtp"

DECLARED = Declared("proposer", platform="cpu")
"""Of the first model runner, which vLLM runs on a CPU alone from 0.32 on; what is in a model is everywhere."""
mutant = DECLARED.mutant


@mutant(
    "drafter_rows_shifted",
    ["vllm-project/vllm#14649", "vllm-project/vllm-ascend#2794"],
    "the drafter gets each token's hidden state one row late",
    module=PROPOSER,
    cases=[EAGLE3, MTP],
    checks=ACCEPTANCE,
)
def _rows_shifted(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *, target_hidden_states: Any, **named: Any) -> Any:
        if len(target_hidden_states) > 1:
            fault.hit()
            target_hidden_states = target_hidden_states.roll(1, dims=0)
        return original(self, target_hidden_states=target_hidden_states, **named)

    fault.replace(found.SpecDecodeBaseProposer, "set_inputs_first_pass", broken)


def _aux(change: Any) -> Any:
    """A patch that gives other auxiliary states to the layer that combines them."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, hidden_states: Any) -> Any:
            fault.hit()
            return original(self, found.torch.cat(change(hidden_states.chunk(3, dim=-1)), dim=-1))

        fault.replace(found.Eagle3LlamaForCausalLM, "combine_hidden_states", broken)

    return patch


mutant(
    "drafter_aux_exchanged",
    ["vllm-project/vllm#43671", "vllm-project/vllm#50170", "sgl-project/sglang#32334"],
    "first and last of the three auxiliary hidden states change places",
    module=_EAGLE3_MODEL,
    platform="",
    cases=[CHUNKED],
    checks=ACCEPTANCE,
)(_aux(lambda parts: [parts[2], parts[1], parts[0]]))

mutant(
    "drafter_aux_lost",
    ["vllm-project/vllm#43671", "vllm-project/vllm#26191"],
    "the middle one of the three auxiliary hidden states is zero",
    module=_EAGLE3_MODEL,
    platform="",
    cases=[EAGLE3],
    checks=ACCEPTANCE,
)(_aux(lambda parts: [parts[0], parts[1] * 0, parts[2]]))


@mutant(
    "drafter_cache_unwritten",
    ["vllm-project/vllm#9730", "vllm-project/vllm#50169"],
    "the drafter's slots are all padding, so its KV cache is never written",
    module=PROPOSER,
    cases=[EAGLE3, DRAFT_MODEL],
    checks=ACCEPTANCE,
)
def _cache_unwritten(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        mapping = original(self, *arguments, **named)
        fault.hit()
        for slots in mapping.values():
            slots.fill_(found.PADDING_SLOT_ID)
        return mapping

    fault.replace(found.SpecDecodeBaseProposer, "_get_slot_mapping", broken)


@mutant(
    "drafter_rejected_kept",
    ["vllm-project/vllm#26498", "vllm-project/vllm-ascend#14883"],
    "rejected tokens still count in the length of the sequence that the drafter sees",
    module=PROPOSER,
    cases=[DRAFT_MODEL, EAGLE3, MTP],
    checks=ACCEPTANCE,
)
def _rejected_kept(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        rejected = named.get("num_rejected_tokens_gpu")
        if rejected is not None and bool(rejected.any()):
            fault.hit()
            named["num_rejected_tokens_gpu"] = found.torch.zeros_like(rejected)
        return original(self, *arguments, **named)

    fault.replace(found.SpecDecodeBaseProposer, "propose", broken)


@mutant(
    "drafter_positions_late",
    ["vllm-project/vllm#26498", "vllm-project/vllm#50169"],
    "every position that the drafter is given is one too high",
    module=PROPOSER,
    cases=[EAGLE3, DRAFT_MODEL, MTP],
    checks=ACCEPTANCE,
)
def _positions_late(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, num_tokens: int, positions: Any) -> None:
        fault.hit()
        original(self, num_tokens, positions + 1)

    fault.replace(found.SpecDecodeBaseProposer, "_set_positions", broken)


@mutant(
    "drafter_steps_stand_still",
    ["vllm-project/vllm-ascend#7290", "vllm-project/vllm#42004"],
    "from the second draft on the drafter stays at the position of the first",
    module=PROPOSER,
    cases=[EAGLE3, DRAFT_MODEL],
    checks=ACCEPTANCE,
)
def _steps_stand_still(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        positions = original(self, *arguments, **named)
        fault.hit()
        positions -= 1
        return positions

    fault.replace(found.SpecDecodeBaseProposer, "_update_positions_dependent_metadata", broken)


@mutant(
    "drafter_next_tokens_mixed",
    ["vllm-project/vllm#40766"],
    "with several requests each one's drafter goes on from the token of another",
    module=PROPOSER,
    cases=[EAGLE3, MTP],
    checks=ACCEPTANCE,
)
def _next_tokens_mixed(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *, next_token_ids: Any, **named: Any) -> Any:
        if len(next_token_ids) > 1:
            fault.hit()
            next_token_ids = next_token_ids.roll(1)
        return original(self, next_token_ids=next_token_ids, **named)

    fault.replace(found.SpecDecodeBaseProposer, "set_inputs_first_pass", broken)


def _drafts(change: Any) -> Any:
    """A patch that changes the drafts, which are (requests, tokens)."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
            drafts = original(self, *arguments, **named)
            return change(drafts.clone(), fault) if drafts.dim() == 2 and drafts.numel() else drafts

        fault.replace(found.SpecDecodeBaseProposer, "propose", broken)

    return patch


def _tenth_wrong(drafts: Any, fault: Fault) -> Any:
    for row in drafts:
        if fault.every(10):
            row.zero_()
    return drafts


def _last_wrong(drafts: Any, fault: Fault) -> Any:
    fault.hit()
    drafts[:, -1] = 0
    return drafts


def _rows_mixed(drafts: Any, fault: Fault) -> Any:
    if len(drafts) > 1:
        fault.hit()
        return drafts.roll(1, dims=0)
    return drafts


mutant(
    "drafts_tenth_wrong",
    ["vllm-project/vllm#26191"],
    "the drafts of one step in ten are nonsense",
    module=PROPOSER,
    cases=[EAGLE3, MTP, DRAFT_MODEL],
    checks=ACCEPTANCE,
)(_drafts(_tenth_wrong))

mutant(
    "drafts_last_wrong",
    ["vllm-project/vllm-ascend#7290", "vllm-project/vllm#42004"],
    "the last draft of each step is nonsense",
    module=PROPOSER,
    cases=[EAGLE3, MTP],
    checks=ACCEPTANCE,
)(_drafts(_last_wrong))

mutant(
    "drafts_rows_mixed",
    ["vllm-project/vllm#40766"],
    "with several requests each one gets the drafts of another",
    module=PROPOSER,
    cases=[EAGLE3, MTP],
    checks=ACCEPTANCE,
)(_drafts(_rows_mixed))


@mutant(
    "drafts_dropped_when_busy",
    ["vllm-project/vllm#34497"],
    "drafts are thrown away while more than two requests run",
    module=SCHEDULER,
    cases=[EAGLE3, TWINS],
    checks=ACCEPTANCE,
)
def _dropped_when_busy(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, draft_token_ids: Any) -> None:
        if len(self.running) > 2:
            fault.hit()
        else:
            original(self, draft_token_ids)

    fault.replace(found.Scheduler, "update_draft_token_ids", broken)


@mutant(
    "mtp_hidden_lost",
    ["vllm-project/vllm#14649", "vllm-project/vllm#43671"],
    "the MTP layer gets zero in place of the hidden state before",
    module=_MIMO,
    platform="",
    cases=[MTP],
    checks=ACCEPTANCE,
)
def _mtp_hidden_lost(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        fault.hit()
        if "previous_hidden_states" in named:
            named["previous_hidden_states"] = found.torch.zeros_like(named["previous_hidden_states"])
        else:
            arguments = (*arguments[:2], found.torch.zeros_like(arguments[2]), *arguments[3:])
        return original(self, *arguments, **named)

    fault.replace(found.MiMoMultiTokenPredictorLayer, "forward", broken)
