"""Where processes stand that do not move any more: their Python stacks, where py-spy is at hand."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil

from harness.base.clock import SYSTEM_CLOCK, Clock, Deadline
from harness.host import processes
from harness.host.identity import Identity

_TOOL = "py-spy"
_ONE = 5.0
"""Seconds for one process: one that the kernel holds can be stopped by nobody."""


class _TooLong(Exception):
    """The tool did not end in time."""


def tool(python: str) -> str:
    """py-spy in the environment of ``python``, else on the search path; empty where it is not."""
    beside = Path(python).parent / _TOOL
    return str(beside) if beside.is_file() else shutil.which(_TOOL) or ""


def dump(found: Sequence[Identity], spy: str, seconds: float, clock: Clock = SYSTEM_CLOCK) -> tuple[str, str]:
    """What can be said of each process: its state as the system sees it, and its stack.

    Args:
        found: The processes.
        spy: The tool; empty for none.
        seconds: For all together; those that are not reached in time say so.
        clock: For the limit.

    Returns:
        The text, and why no stack is in it; empty if one is.
    """
    deadline = Deadline(seconds, clock)
    parts, reason = [], "" if spy else f"{_TOOL} is not here"
    any_stack = False
    for process in found:
        stack, problem = _stack(process, spy, deadline) if spy else ("", reason)
        any_stack = any_stack or bool(stack)
        reason = reason or problem
        parts.append(f"{_state(process)}\n{stack or f'no stack: {problem}'}\n")
    return "\n".join(parts), "" if any_stack else reason or "no process is left"


def _state(found: Identity) -> str:
    try:
        process = psutil.Process(found.pid)
        with process.oneshot():
            used = process.cpu_times()
            return (
                f"{process.name()} ({process.pid}): {process.status()}, {process.num_threads()} threads, "
                f"{used.user + used.system:.1f} s of processor time"
            )
    except psutil.Error:
        return f"process {found.pid}: gone"


def _stack(process: Identity, spy: str, deadline: Deadline) -> tuple[str, str]:
    """The stack, or why there is none."""
    limit = Deadline(deadline.cut(_ONE), deadline.clock)

    def on_tick(_line: str) -> None:
        if limit.passed:
            raise _TooLong

    if deadline.passed:
        return "", "no time was left"
    try:
        status, output = processes.run([spy, "dump", "--pid", str(process.pid)], on_tick=on_tick)
    except _TooLong:
        return "", f"{_TOOL} did not end within {limit.seconds:.0f} s"
    except OSError as error:
        return "", f"{_TOOL}: {error}"
    words = " ".join(output.split())
    return (output, "") if status == 0 and words else ("", f"{_TOOL}: {words[:200] or f'status {status}'}")
