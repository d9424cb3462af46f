"""Mutants of the health of vLLM's processes: hanging, dying, growing, slowing down."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from engine_mutants.fault import Fault, Intended
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import AT_REST, EAGLE3, NGRAM, NO_ABSOLUTE_TIME, TWINS

_CORE = "vllm.v1.engine.core"

DECLARED = Declared("process")
mutant = DECLARED.mutant

_kept: list[object] = []


def _step(act: Callable[[Fault], None]) -> Any:
    """A patch that does something before each step with work in it."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
            if self.scheduler.has_requests():
                act(fault)
            return original(self, *arguments, **named)

        fault.replace(found.EngineCore, "step", broken)
        fault.replace(found.EngineCore, "step_with_batch_queue", broken)

    return patch


def _hang(fault: Fault) -> None:
    if fault.hit() == 40:
        time.sleep(100)


def _die(fault: Fault) -> None:
    if fault.hit() == 60:
        raise Intended("a mutant ends the engine at its sixtieth step")


def _grow(fault: Fault) -> None:
    fault.hit()
    _kept.append(bytearray(b"x" * (1 << 20)))


def _slow_down(fault: Fault) -> None:
    time.sleep(0.0004 * fault.hit())


def _leave_threads(fault: Fault) -> None:
    if fault.every(10):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


for _name, _bugs, _breaks, _act, _checks, _unseen in (
    (
        "step_hangs",
        ["vllm-project/vllm#36451", "vllm-project/vllm#17972"],
        "the fortieth step takes 100 s, and /health answers all the while",
        _hang,
        ("eval",),
        "",
    ),
    ("step_dies", ["vllm-project/vllm#52170"], "the engine ends at its sixtieth step", _die, ("eval",), ""),
    (
        "memory_grows",
        ["vllm-project/vllm#52089", "vllm-project/vllm#15085"],
        "a mebibyte is kept at each step",
        _grow,
        AT_REST,
        "",
    ),
    (
        "steps_slow_down",
        ["vllm-project/vllm#41838"],
        "each step takes 0.4 ms longer than the one before",
        _slow_down,
        (),
        NO_ABSOLUTE_TIME,
    ),
    (
        "threads_stay",
        ["vllm-project/vllm#15085"],
        "every tenth step leaves a thread behind",
        _leave_threads,
        AT_REST,
        "",
    ),
):
    mutant(
        _name,
        _bugs,
        _breaks,
        module=_CORE,
        cases=[EAGLE3, TWINS] if _name == "memory_grows" else [EAGLE3, NGRAM],
        checks=_checks,
        dirty=True,
        unseen=_unseen,
    )(_step(_act))
