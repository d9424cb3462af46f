"""Which sessions a workflow of GitHub Actions runs, as far as its text says so without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from harness.plan.points import Planned


@dataclass(frozen=True)
class Selection:
    """What one `harness plan --format github` puts into a matrix; None where it does not narrow."""

    platform: str | None
    suite: str | None

    def holds(self, each: Planned) -> bool:
        return self.platform in (None, each.platform) and self.suite in (None, each.suite)


@dataclass(frozen=True)
class Reach:
    """What a workflow runs.

    Attributes:
        text: The workflow without its comments.
        selections: Of every plan in it whose matrix is run.
    """

    text: str
    selections: tuple[Selection, ...]

    def runs(self, each: Planned) -> bool:
        """Whether it names the session, or makes a job of it from the plan."""
        by_name = re.search(rf"\b{each.session}\b", self.text)
        return bool(by_name) or any(selection.holds(each) for selection in self.selections)


def reach(workflow: str) -> Reach:
    """What a workflow runs, read from its text.

    A plan counts if a job takes its matrix and runs the matrix's sessions. Of what narrows it only ``--platform`` and
    ``--suite`` with a literal value are understood; with anything else nobody knows what is left, and it counts for
    nothing. ``${NAME:+--option "$NAME"}`` is what a person may add by hand: left out, as when nobody does.
    """
    text = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in workflow.splitlines())
    used = "fromJSON(" in text and "matrix.session" in text
    return Reach(text, tuple(_selections(text)) if used else ())


def _selections(text: str) -> Iterator[Selection]:
    joined = re.sub(r"\\\n\s*", "", text)
    for line in re.sub(r"""\$\{\w+:\+(?:"[^"]*"|[^}"])*\}""", "", joined).splitlines():
        for command in re.findall(r"\bplan\s([^|>;&)]*)", line):
            selection = _selection(command)
            if selection is not None:
                yield selection


def _selection(arguments: str) -> Selection | None:
    """The selection of a plan for GitHub by its arguments; None if it is no such plan, or not to be known."""
    try:
        words = [word for word in shlex.split(arguments.replace("=", " ")) if word != "--"]
    except ValueError:
        return None
    if len(words) % 2:
        return None
    options = dict(zip(words[::2], words[1::2], strict=True))
    known = set(options) <= {"--format", "--platform", "--suite"} and all(
        re.fullmatch(r"\w+", v) for v in options.values()
    )
    if not known or options.get("--format") != "github":
        return None
    return Selection(options.get("--platform"), options.get("--suite"))
