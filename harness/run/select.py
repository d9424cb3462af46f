"""Which cases run, and on which platform."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from harness.ground.errors import NothingSelected, UsageError
from harness.mechanism import devices
from harness.policy.cases.load import load
from harness.policy.cases.model import PLATFORMS, Platform
from harness.policy.plan import Planned, everything, within
from harness.policy.rules import of_point


def matching(
    folder: Path, *, wanted: list[str], suite: str | None, platform: str | None, checkpoints: str = ""
) -> list[Planned]:
    """The points below ``folder`` that match all of what is given, those that do not run included.

    Args:
        folder: Of the case files.
        wanted: Ids, with or without the point of the matrix; all if empty.
        suite: Name of a suite; all if None.
        platform: All if None.
        checkpoints: Name of a checkpoint set; empty for the models of the cases.

    Raises:
        UsageError: A case file, the platform or the checkpoint set is wrong.
        NothingSelected: Nothing matches.
    """
    if platform is not None and platform not in PLATFORMS:
        raise UsageError(f"--platform {platform}: must be one of {', '.join(PLATFORMS)}")
    cases = load(folder)
    sets = {name for case in cases for name in case.checkpoint_sets}
    if checkpoints and checkpoints not in sets:
        raise UsageError(f"--checkpoints {checkpoints}: no case has that set; there are: {', '.join(sorted(sets))}")
    points = everything(cases, checkpoints)
    names = {each.case_file.id for each in points} | {name for each in points for name in (each.point, each.id)}
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(names))}"
            raise NothingSelected(f"no case {name!r} below {folder}; {advice}")
    found = [
        each
        for each in points
        if (not wanted or not {each.case_file.id, each.point, each.id}.isdisjoint(wanted))
        and suite in (None, each.suite)
        and platform in (None, each.platform)
    ]
    if not found:
        asked = [f"suite {suite}" if suite else "", f"platform {platform}" if platform else "", *wanted]
        known_suites = ", ".join(sorted({each.suite for each in points}))
        raise NothingSelected(f"nothing matches {', '.join(filter(None, asked))}; suites are: {known_suites}")
    return found


def select(
    folder: Path,
    *,
    wanted: list[str],
    suite: str | None,
    platform: str | None,
    at_most: int | None = None,
    checkpoints: str = "",
) -> list[Planned]:
    """What of :func:`matching` is on one platform; at least one point runs.

    Args:
        folder: Of the case files.
        wanted: Ids, with or without the point of the matrix; all if empty.
        suite: Name of a suite; all if None.
        platform: None: the one whose accelerators are visible here, else cpu.
        at_most: Accelerators that may be used; points that need more are skipped. None: as many as needed.
        checkpoints: Name of a checkpoint set; empty for the models of the cases.

    Raises:
        UsageError: A case file is wrong, or what it expects has no meaning; or the platform is not clear.
        NothingSelected: Nothing matches, or nothing that does can run.
    """
    found = matching(folder, wanted=wanted, suite=suite, platform=platform, checkpoints=checkpoints)
    here = _here({each.platform for each in found})
    found = [each for each in found if each.platform == here]
    if at_most is not None:
        found = within(found, at_most)
    if all(each.skip for each in found):
        raise NothingSelected(f"{found[0].id} does not run: {found[0].skip}")
    wrong = list(dict.fromkeys(line for each in found if not each.skip for line in of_point(each)))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UsageError(f"{wrong[0]}{more}; `harness check` says what else")
    return found


def _here(platforms: Collection[Platform]) -> Platform:
    """Of several platforms the one that this machine is."""
    if len(platforms) == 1:
        return next(iter(platforms))
    for platform in PLATFORMS:
        if platform in platforms and _has_devices(platform):
            return platform
    if "cpu" in platforms:
        return "cpu"
    raise UsageError(f"the cases run on {', '.join(sorted(platforms))}; choose one with --platform")


def _has_devices(platform: Platform) -> bool:
    try:
        return bool(devices.visible(platform))
    except devices.NoSuchDevice as error:
        raise UsageError(str(error)) from None
