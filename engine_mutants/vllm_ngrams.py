"""Mutants of vLLM's proposer that looks for repetitions."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import ACCEPTANCE, NGRAM

_NGRAM = "vllm.v1.spec_decode.ngram_proposer"

DECLARED = Declared("proposer", platform="cpu")  # of the first model runner
mutant = DECLARED.mutant


@mutant(
    "ngram_starts_late",
    ["vllm-project/vllm-ascend#3628"],
    "the n-gram proposer leaves out the first token after the match",
    module=_NGRAM,
    cases=[NGRAM],
    checks=ACCEPTANCE,
)
def _ngram_starts_late(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        drafts = original(self, *arguments, **named)
        fault.hit()
        return [each[1:] for each in drafts]

    fault.replace(found.NgramProposer, "propose", broken)


@mutant(
    "ngram_silent_when_busy",
    ["vllm-project/vllm#16883"],
    "the n-gram proposer finds nothing for the last of several requests",
    module=_NGRAM,
    cases=[NGRAM],
    checks=ACCEPTANCE,
)
def _ngram_silent(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        drafts = original(self, *arguments, **named)
        if len(drafts) > 1:
            fault.hit()
            drafts[-1] = []
        return drafts

    fault.replace(found.NgramProposer, "propose", broken)
