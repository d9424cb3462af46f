"""What became of a mutant: from the verdict of a case and the count of broken paths taken to one word."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from engine_mutants.mutant import Mutant
from harness.base.domain import Outcome
from harness.reports.numbers import message
from harness.reports.result import Result

_WRONG = (Outcome.FAIL, Outcome.ERROR)


class Status(StrEnum):
    """How it ended; from what was hoped for down to what says nothing."""

    KILLED = "killed"
    """A check turned red that the mutant names."""
    KILLED_BY_ANOTHER = "killed by another check"
    NOT_SEEN = "not seen"
    """Its broken path was taken, and everything was green."""
    NEVER_REACHED = "never reached"
    GONE = "target gone in this version"
    """It does not fit the engine, so nothing was broken, or something else than was meant."""
    RED_UNREACHED = "red though never reached"
    """Something else was wrong: it says nothing about the mutant."""

    @property
    def is_killed(self) -> bool:
        return self in (Status.KILLED, Status.KILLED_BY_ANOTHER)


def red(result: Result) -> list[str]:
    """Names of the stages that broke and the checks that did not hold."""
    stages = [str(each.stage) for each in result.stages if each.outcome in _WRONG]
    return [*stages, *(each.name for each in result.checks if each.outcome in _WRONG)]


def first_finding(result: Result) -> str:
    """What is said first of what went wrong, in one line; empty if nothing did."""
    broken = [f"{each.stage}: {each.message}" for each in result.stages if each.outcome in _WRONG]
    found = [*broken, *(f"{each.name}: {message(each)}" for each in result.checks if each.outcome in _WRONG)]
    return " ".join(found[0].split()) if found else ""


def status(mutant: Mutant, red: Sequence[str], hits: int, misfit: str) -> Status:
    """What became of a mutant in one evaluation.

    Args:
        mutant: The mutant.
        red: What turned red.
        hits: How often its broken path was taken.
        misfit: Why it does not fit the engine; empty if it does.
    """
    if misfit:
        return Status.GONE
    if not hits:
        return Status.RED_UNREACHED if red else Status.NEVER_REACHED
    if not red:
        return Status.NOT_SEEN
    # A check that compares several values has a result for each: acceptance_per_position[0].
    names = {name.partition("[")[0] for name in red}
    return Status.KILLED if names & set(mutant.checks) else Status.KILLED_BY_ANOTHER
