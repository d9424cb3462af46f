"""Which cases run, and on which platform."""

from __future__ import annotations

import difflib
from pathlib import Path

from harness.ground.errors import NothingSelected, UsageError
from harness.policy.cases.load import load
from harness.policy.cases.model import PLATFORMS
from harness.run.supervise import Selected


def select(folder: Path, *, wanted: list[str], suite: str | None, platform: str | None) -> list[Selected]:
    """The cases below ``folder`` that match all of what is given.

    Raises:
        UsageError: A case file is wrong, or the platform is not clear.
        NothingSelected: Nothing matches.
    """
    if platform is not None and platform not in PLATFORMS:
        raise UsageError(f"--platform {platform}: must be one of {', '.join(PLATFORMS)}")
    known = load(folder)
    for name in wanted:
        if name not in {case.id for case in known}:
            near = difflib.get_close_matches(name, [case.id for case in known], n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(case.id for case in known)}"
            raise NothingSelected(f"no case {name!r} below {folder}; {advice}")
    matching = [case for case in known if (not wanted or case.id in wanted) and suite in (None, case.suite)]
    if platform is None:
        found = {each for case in matching for each in case.platforms}
        if len(found) > 1:
            raise UsageError(f"the cases run on {', '.join(sorted(found))}; choose one with --platform")
        platform = next(iter(found), None)
    selected = [Selected(case, each) for case in matching for each in case.platforms if each == platform]
    if not selected:
        asked = [f"suite {suite}" if suite else "", f"platform {platform}" if platform else "", *wanted]
        known_suites = ", ".join(sorted({case.suite for case in known}))
        raise NothingSelected(f"nothing matches {', '.join(filter(None, asked))}; suites are: {known_suites}")
    return selected
