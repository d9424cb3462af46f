"""What settings of a case need besides the engine, and whether its interpreter has it."""

from __future__ import annotations

from harness.cases.model import Case
from harness.doctor.facts import Source
from harness.engines import ENGINES


def missing(case: Case, source: Source) -> str:
    """The first library that an interpreter was asked for and does not find, in words; empty if there is none."""
    for setting, module in ENGINES[case.engine.name].needed(case).items():
        if module in (source.absent or ()):
            return f"{setting} needs {module}, which is not in the engine's environment"
    return ""


def unverified(case: Case) -> list[str]:
    """What is needed and comes with no engine, where no interpreter could be asked."""
    needed = ENGINES[case.engine.name].needed(case, rare=True)
    return [f"{setting} needs {module}" for setting, module in needed.items()]
