"""How long things may take, from the inside out: each limit is larger than all that it contains.

Nothing here is an estimate: what a case is expected to take is its ``expected_seconds``, or what was learned of it, and
no limit is made of either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.base.domain import Stage
from harness.cases.model import Case

_ENDING = 60.0
"""Seconds for what a stage does once its own limit has passed: a question that is still open, a server that is late to
die, stacks of processes, and writing it down."""
_CLEARING = 120.0
"""Seconds for what follows SIGKILL: processes, ports, memory of devices, a container."""
_ONE_WAY = 120.0
SET_UP = 1800.0
"""Seconds of a job for what a host does once: environments, images, models."""
JOB_MOST = 5 * 24 * 60
"""Minutes that GitHub lets a job take on a runner of one's own; on its own runners, 360."""


def questions(case: Case) -> float:
    """Seconds for all questions that an engine is asked at one go; for one of them it has ``timeouts.start``."""
    return max(case.timeouts.start, _ENDING)


def one_way(case: Case) -> float:
    """Seconds for one way of asking an engine which flags it has: without an answer the case runs all the same."""
    return min(case.timeouts.start, _ONE_WAY)


def flags(case: Case) -> float:
    """Seconds for all ways: two of them may hang, and what asks them together hangs with them."""
    return 3 * one_way(case)


def stage(case: Case, which: Stage) -> float:
    """Seconds after which a stage has ended, whatever the engine does. Downloads and builds are a job's, not a case's.

    Preparing asks an engine at two goes, for what its environment has and for the canary, and in several ways for its
    flags; starting servers waits for none of them.
    """
    limits = case.timeouts
    inner = {
        Stage.PREPARE: 2 * questions(case) + flags(case),
        Stage.HEALTH_WAIT: limits.start,
        Stage.EVAL: limits.evaluation,
        Stage.STOP: limits.stop + _CLEARING,
    }
    return inner.get(which, 0.0) + _ENDING


def point(case: Case) -> float:
    """Seconds after which a case has its verdict, whatever the engine does."""
    return sum(stage(case, which) for which in Stage)


def job_minutes(cases: Iterable[Case]) -> int:
    """Minutes after which a job that runs ``cases`` one after the other has ended by itself; side by side, earlier."""
    return math.ceil((SET_UP + sum(point(case) for case in cases)) / 60)
