"""Mutants of the scripted engine: takes the place of ``engine_mutants/every_mutant.py`` in a copy of the package."""

from __future__ import annotations

from functools import partial
from typing import Any

from engine_mutants.fault import Fault, Intended
from engine_mutants.mutant import Declared

CASE = "mtp/known_answer_k1"

DECLARED = Declared("scripted", versions=">=0")
mutant = partial(DECLARED.mutant, module="fake_engine", cases=[CASE])


@mutant("counts_one_more", ["a/b#1"], "one more is accepted", checks=["draft_counts"])
def _counts(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, counts: Any) -> None:
        original(self, counts)
        fault.hit()
        self.counters['vllm:spec_decode_num_accepted_tokens_total{engine="0"}'] += 1

    fault.replace(found.Engine, "count_drafts", broken)


@mutant("says_nothing", ["a/b#2"], "every third answer is empty", checks=["draft_counts"])
def _nothing(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, body: Any, number: int) -> Any:
        answer = original(self, body, number)
        if fault.every(3):
            answer["choices"][0]["text"] = ""
        return answer

    fault.replace(found.Engine, "answer", broken)


@mutant("does_no_harm", ["a/b#3"], "nothing is broken", checks=["parity"], unseen="nothing is broken")
def _no_harm(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any) -> Any:
        fault.hit()
        return original(self, *arguments)

    fault.replace(found.Engine, "answer", broken)


@mutant("is_not_reached", ["a/b#4"], "what nobody calls", checks=["parity"])
def _not_reached(found: Any, fault: Fault) -> None:
    fault.replace(found.Script, "__repr__", lambda _original, _self: str(fault.hit()))


@mutant("is_gone", ["a/b#5"], "what is not there", checks=["parity"])
def _gone(found: Any, fault: Fault) -> None:
    fault.replace(found.Engine, "no_such_method", lambda *_: None)


@mutant("does_not_fit", ["a/b#6"], "it takes for granted what is not so", checks=["eval"], dirty=True)
def _does_not_fit(found: Any, fault: Fault) -> None:
    def broken(_original: Any, self: Any, *_arguments: Any) -> Any:
        fault.hit()
        return self.no_such_attribute

    fault.replace(found.Engine, "answer", broken)


@mutant("ends_with_an_error", ["a/b#7"], "the fourth request is an error", checks=["eval"], dirty=True)
def _error(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any) -> Any:
        if fault.hit() == 4:
            raise Intended("the fourth")
        return original(self, *arguments)

    fault.replace(found.Engine, "answer", broken)


@mutant("is_there_from_the_start", ["a/b#8"], "one more is accepted", checks=["draft_counts"], switched=False)
def _from_the_start(found: Any, fault: Fault) -> None:
    _counts(found, fault)


ALL = tuple(DECLARED.all)
BY_NAME = {each.name: each for each in ALL}
