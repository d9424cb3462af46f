"""The harness's own errors, each with the exit code a caller sees.

    HarnessError
    ├── UsageError       2    the caller's input is wrong: a case file, an option
    ├── NothingSelected  3    the input is fine and selects nothing: never green
    └── CannotJudge      4    image, start, health, evaluation, teardown, download: no judgement possible

    Interrupted        130    a KeyboardInterrupt, so that ``except Exception`` never swallows it

A judgement that came out false is no exception: it is a :class:`~harness.base.domain.CheckResult` and exit
code 1 (:data:`EXIT_FAILED`).
"""

from __future__ import annotations

import traceback
from typing import Literal

EXIT_PASSED = 0
EXIT_FAILED = 1

Fault = Literal["", "configuration", "device", "host", "network"]
"""Whose fault it is that nothing can be judged; empty where nobody says."""


class HarnessError(Exception):
    """Base of everything the command line reports in one line instead of a traceback.

    Args:
        message: What is wrong.
        next_step: What to do, where somebody shows the two apart; else it is part of the message.
    """

    exit_code = 70  # EX_SOFTWARE: only a subclass may reach a user

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(f"{message}; {next_step}" if next_step else message)
        self.message, self.next_step = message, next_step


class UsageError(HarnessError):
    """The caller's input is wrong. The message names file, key and the next step."""

    exit_code = 2


class NothingSelected(HarnessError):
    """A valid selection that matches no case. Zero tests is never green."""

    exit_code = 3


class CannotJudge(HarnessError):
    """A step on the way to the judgement broke, so there is none.

    Args:
        message: What broke.
        cause: The root cause in the words of whoever broke, one line; empty when there is none.
        details: More lines for the report: the end of a log.
        fault: Whose it is, where that is known.
    """

    exit_code = 4

    def __init__(self, message: str, *, cause: str = "", details: str = "", fault: Fault = "") -> None:
        super().__init__(f"{message}: {cause}" if cause else message)
        self.details, self.fault = details, fault


def refused(error: OSError) -> CannotJudge:
    """What the operating system refused, as an error of ours."""
    details = "".join(traceback.format_exception(error))
    return CannotJudge("the operating system refused", cause=str(error), details=details)


def of_the_system(error: BaseException | None) -> OSError | None:
    """What the operating system said, of an error that libraries packed into others; None if it said nothing."""
    if error is None:
        return None
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error
    inside = [each for each in error.args if isinstance(each, BaseException)]
    return next(filter(None, map(of_the_system, [*inside, error.__cause__])), None)


class Interrupted(KeyboardInterrupt):
    """A signal that asks it to end reached the harness."""

    exit_code = 130

    def __init__(self, signal_name: str) -> None:
        super().__init__(f"interrupted by {signal_name}")
