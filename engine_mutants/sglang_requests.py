"""Mutants of SGLang: how its requests end, its reductions over ranks, and its experts."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import SGLANG_CONTRACT, SGLANG_EAGLE3, SGLANG_EPLB, TEXTS

_REQUESTS = "sglang.srt.managers.schedule_batch"
_GROUPS = "sglang.srt.distributed.parallel_state"
_EPLB = "sglang.srt.eplb.eplb_manager"

DECLARED = Declared("SGLang", engine="sglang", versions=">=0.5.23,<0.6", platform="cuda", switched=False)
mutant = DECLARED.mutant


@mutant(
    "sglang_end_missed",
    ["sgl-project/sglang#23802"],
    "one answer in five goes on after its end",
    module=_REQUESTS,
    cases=[SGLANG_EAGLE3],
    checks=(*TEXTS, "acceptance_length"),
)
def _end_missed(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        original(self, *arguments, **named)
        ended = isinstance(self.finished_reason, found.FINISH_MATCHED_TOKEN)
        if ended and fault.every(5):
            self.finished_reason, self.finished_len = None, None

    fault.replace(found.Req, "update_finish_state", broken)


@mutant(
    "sglang_finish_reason_length",
    ["sgl-project/sglang#31599"],
    "an answer that stopped says that it was as long as it might be",
    module=_REQUESTS,
    cases=[SGLANG_EAGLE3],
    checks=("validity", "parity"),
)
def _finish_reason(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        original(self, *arguments, **named)
        if isinstance(self.finished_reason, found.FINISH_MATCHED_TOKEN):
            fault.hit()
            self.finished_reason = found.FINISH_LENGTH(length=len(self.output_ids))

    fault.replace(found.Req, "update_finish_state", broken)


@mutant(
    "sglang_stop_strings_ignored",
    ["sgl-project/sglang#23802"],
    "stop strings are never found",
    module=_REQUESTS,
    cases=[SGLANG_CONTRACT],
    checks=("contract",),
)
def _stop_strings(found: Any, fault: Fault) -> None:
    def broken(_original: Any, self: Any, *_arguments: Any, **_named: Any) -> bool:
        if self.sampling_params.stop_strs:
            fault.hit()
        return False

    fault.replace(found.Req, "_check_str_based_finish", broken)


@mutant(
    "sglang_reduction_counts_twice",
    ["sgl-project/sglang#4477"],
    "a rank adds its own part once more",
    module=_GROUPS,
    cases=["sglang_eagle3/infer_beta"],
    checks=("accuracy", "acceptance_length"),
)
def _counts_twice(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, tensor: Any, *arguments: Any, **named: Any) -> Any:
        own = tensor.clone()
        reduced = original(self, tensor, *arguments, **named)
        if self.world_size > 1:
            fault.hit()
            return reduced + own
        return reduced

    fault.replace(found.GroupCoordinator, "all_reduce", broken)


@mutant(
    "sglang_experts_never_moved",
    ["sgl-project/sglang#25882"],
    "the time to move experts comes, and nothing is moved",
    module=_EPLB,
    cases=[SGLANG_EPLB],
    checks=("rearrangements",),
)
def _never_moved(found: Any, fault: Fault) -> None:
    def broken(_original: Any, _self: Any, *_arguments: Any, **_named: Any) -> Any:
        fault.hit()
        return iter(())

    fault.replace(found.EPLBManager, "rebalance", broken)
