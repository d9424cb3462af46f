"""The search itself: start the build that tells most, until one is the first bad one, and has been seen to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import CannotJudge
from harness.bisection.search_record import Search, Trial, keep
from harness.statistics.first_bad import Outcome, belief, most_telling, narrowed
from harness.statistics.sequential import Errors

MOST_OF_ONE = 3
"""Starts of one build that are undecided or cannot be judged, before it is left out."""

Try = Callable[[Search, int], Trial]
"""Starts the build at a place and says what it is."""
Shows = Callable[[Search, int, int], bool]
"""Whether the starts of a last good and a first bad build, side by side, show the loss."""


@dataclass
class Bisection:
    """One search. After every start it is on the disk, so it goes on wherever it was ended.

    Attributes:
        search: As far as it is.
        folder: Of everything.
        attempt: Makes a start.
        shows: Of builds that are judged side by side; None where each is judged by its own checks.
        say: Tells a person.
        most: Starts in all.
    """

    search: Search
    folder: Path
    attempt: Try
    shows: Shows | None
    say: Callable[[str], None]
    most: int

    def run(self) -> int:
        """Place of the first bad build, confirmed.

        Raises:
            CannotJudge: It cannot be told, or one of the ends is not what it is said to be.
            Interrupted: A signal ended it.
        """
        asked = self.search.asked
        number = len(asked.builds)
        if self.shows is not None and not any(map(_says, self.search.of(0))):
            self._try(0, self._beliefs(Errors(asked.false_alarm, asked.false_pass)))
            if not any(map(_says, self.search.of(0))):
                raise CannotJudge("the good build could not be measured, and nothing can be compared with it",
                                  cause=self.search.trials[-1].why)  # fmt: skip
        errors = Errors(asked.false_alarm, asked.false_pass)
        while True:
            beliefs, allowed = self._beliefs(errors), self._allowed()
            span, sure = narrowed(beliefs, allowed)
            if sure < asked.confidence and allowed:
                self._try(most_telling(beliefs, allowed, errors), beliefs)
                continue
            if not allowed or len(span) > 1:
                raise CannotJudge("the first bad build cannot be told", cause=self._one_of(span))
            first = span[0]
            missing = self._unconfirmed(first, allowed)
            if missing is not None:
                self._try(missing, beliefs)
                continue
            if first in (0, number):
                wrong = f"{asked.builds[0]} is bad" if first == 0 else f"{asked.builds[-1]} is good"
                hint = "; a smaller --margin sees a smaller loss" if first and self.shows is not None else ""
                raise CannotJudge("the ends are not what they are said to be", cause=wrong + hint)
            self.search = self.search.model_copy(update={"first": first})
            keep(self.folder, self.search)
            return first

    def _beliefs(self, errors: Errors) -> list[float]:
        outcomes = [Outcome(each.build, each.said == "bad") for each in self.search.trials if _says(each)]
        return belief(len(self.search.asked.builds), outcomes, errors)

    def _allowed(self) -> list[int]:
        """Builds that may be started: not those that could not be judged, or not often enough."""
        found = []
        for at in range(len(self.search.asked.builds)):
            silent = [each.said for each in self.search.of(at) if not _says(each)]
            if "skip" not in silent and len(silent) < MOST_OF_ONE:
                found.append(at)
        return found

    def _unconfirmed(self, first: int, allowed: list[int]) -> int | None:
        """What is to be started before the first bad build counts as found; None if nothing is.

        The build before it must have been seen good and itself bad: the ends are so far only said to be. Where both
        were, it is started once more; builds that were judged side by side are compared with one another instead, and
        started again only if that does not show it.
        """
        places = [each for each in (first, first - 1) if 0 <= each < len(self.search.asked.builds) and each in allowed]
        unseen = [at for at in places if not any(map(_says, self.search.of(at)))]
        if unseen:
            return unseen[0]
        if len(places) < 2 or (self.shows is not None and self.shows(self.search, first - 1, first)):
            return None
        starts = len(self.search.of(first))
        if self.shows is None:
            ends = (0, len(self.search.asked.builds) - 1)
            return None if starts > 1 or {first, first - 1} & set(ends) else first
        if starts >= MOST_OF_ONE:
            raise CannotJudge(
                "the first bad build cannot be confirmed",
                cause=f"beside {self.search.asked.builds[first - 1]} {self.search.asked.builds[first]} shows no loss",
            )
        return first

    def _try(self, at: int, beliefs: list[float]) -> None:
        asked, number = self.search.asked, len(self.search.trials) + 1
        if number > self.most:
            raise CannotJudge(f"undecided after {self.most} starts", cause="give more with --starts, or skip builds")
        left = sum(each > (1 - asked.confidence) / len(beliefs) for each in beliefs)
        places = "one place is" if left == 1 else f"{left} places are"
        self.say(f"start {number}: build {at + 1} of {len(asked.builds)}, {asked.builds[at]}; {places} left")
        trial = self.attempt(self.search, at)
        self.search = self.search.model_copy(update={"trials": (*self.search.trials, trial)})
        keep(self.folder, self.search)
        self.say(f"{asked.builds[at]} is {trial.said}{': ' if trial.why else ''}{trial.why}")

    def _one_of(self, span: range) -> str:
        builds = self.search.asked.builds
        names = [builds[each] for each in span if each < len(builds)]
        left_out = [builds[at] for at in range(len(builds)) if at not in self._allowed()]
        return f"it is one of {', '.join(names)}; {', '.join(left_out) or 'none'} could not be judged"


def least_starts(builds: int) -> int:
    """Starts that are needed where no test is wrong: those that halve what is left, and one more.

    That one confirms, or where builds are judged side by side, is the good build's.
    """
    return math.ceil(math.log2(max(builds - 1, 1))) + 1


def _says(trial: Trial) -> bool:
    return trial.said in ("good", "bad")
