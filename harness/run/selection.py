"""Which cases run, and on which platform."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from harness.base.domain import PLATFORMS, Platform
from harness.base.errors import CannotJudge, NothingSelected, UsageError
from harness.base.settings import cut
from harness.cases.load import load
from harness.devices import accelerators
from harness.plan.narrowing import Narrowing
from harness.plan.points import NEEDS_HOSTS, Planned, Versions, everything, not_started, within
from harness.plan.soundness import of_point

_SWITCHES = {"true", "false", "yes", "no", "on", "off"}
_FEW = 3  # of names that may be meant
_LONGEST = 200  # of a name that something near it is looked for


def matching(
    folder: Path,
    *,
    wanted: list[str],
    platform: str | None,
    narrowed: Narrowing | None = None,
    checkpoints: str = "",
    versions: Versions | None = None,
    decided: bool = True,
    measured: bool = False,
) -> list[Planned]:
    """The points below ``folder`` that match all of what is given, those that do not run included.

    Args:
        folder: Of the case files.
        wanted: Ids, with or without the point of the matrix, patterns of them with ``*`` and ``?``, names of suites,
            paths of case files or of suites' folders; all if empty.
        platform: All if None.
        narrowed: Which of these are left.
        checkpoints: Name of a checkpoint set; empty for the models of the cases.
        versions: As of :func:`~harness.plan.points.everything`.
        decided: The same.
        measured: Nothing is judged, so no case needs a baseline.

    Raises:
        UsageError: A case file, the platform or the checkpoint set is wrong.
        NothingSelected: Nothing matches.
    """
    if platform is not None:
        accelerators.named(platform)
    cases = load(folder, measured=measured)
    sets = {name for case in cases for name in case.checkpoint_sets}
    if checkpoints and checkpoints not in sets:
        there = f"there are: {', '.join(sorted(sets)) or 'none'}"
        raise UsageError(f"--checkpoints {cut(checkpoints)}: no case has that set; {there}")
    points = everything(cases, checkpoints, versions, decided=decided)
    asked = [_asked_for(name, points, folder) for name in wanted]
    found = [
        each
        for each in points
        if (not wanted or any(_is(each, pattern) for pattern in asked)) and platform in (None, each.platform)
    ]
    if narrowed:
        found = narrowed.of(found)
    if not found:
        given = [*(narrowed.said if narrowed else []), f"platform {platform}" if platform else "", *wanted[:3]]
        known_suites = ", ".join(sorted({each.suite for each in points}))
        raise NothingSelected(f"nothing matches {', '.join(filter(None, given))}; suites are: {known_suites}")
    return found


def _is(each: Planned, pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(name) for name in (each.case_file.id, each.point, each.id))


def _asked_for(name: str, points: Sequence[Planned], folder: Path) -> re.Pattern[str]:
    """What the ids look like that a person means.

    Raises:
        NothingSelected: There are none: with the nearest, or the next step.
    """
    found = _pattern(_in_ids(name, points))
    if any(_is(each, found) for each in points):
        return found
    if name.strip("/") in {each.suite for each in points}:
        return _pattern(f"{name.strip('/')}/*")
    cases = sorted({each.case_file.id for each in points})
    if same := [each for each in cases if fnmatchcase(each.rpartition("/")[2], name)]:
        raise NothingSelected(
            f"no case {name!r} below {folder}; did you mean {_several(same)}? All of that name: '*/{name}'"
        )
    if name.lower() in _SWITCHES:
        raise NothingSelected(f"no case {name!r}: options such as --keep take no value; leave it out")
    # A point only if one was meant: they are many, and long.
    names = sorted({each.point for each in points}) if "[" in name else cases
    names += sorted({each.suite for each in points})
    near = difflib.get_close_matches(name[:_LONGEST].strip("/"), names, n=_FEW)
    advice = f"did you mean {_several(near)}?" if near else f"there are {len(cases)}: `harness plan` lists them"
    raise NothingSelected(f"no case {cut(repr(name))} below {folder}; {advice}")


def _several(names: Sequence[str]) -> str:
    """The first of them, in words."""
    *others, last = [repr(each) for each in names[:_FEW]]
    return f"{', '.join(others)} or {last}" if others else last


def _in_ids(name: str, points: Sequence[Planned]) -> str:
    """``name`` in ids, if it is the path of a case file or of a suite's folder."""
    with suppress(OSError, ValueError):
        for path in {each.case_file.path for each in points} if Path(name).exists() else ():
            if path.samefile(name):
                return f"{path.parent.name}/{path.stem}"
            if path.parent.samefile(name):
                return f"{path.parent.name}/*"
    return name


def _pattern(name: str) -> re.Pattern[str]:
    """``*`` and ``?`` as in a shell; brackets are part of an id."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(each, re.escape(each)) for each in re.sub(r"\*+", "*", name)), re.DOTALL)


def select(
    folder: Path,
    *,
    wanted: list[str],
    platform: str | None,
    narrowed: Narrowing | None = None,
    at_most: int | None = None,
    checkpoints: str = "",
    versions: Versions | None = None,
    measured: bool = False,
    attached: bool = False,
    hosts: bool = False,
) -> list[Planned]:
    """What of :func:`matching` is on one platform; at least one point runs.

    Args:
        folder: Of the case files.
        wanted: Ids, with or without the point of the matrix; all if empty.
        platform: None: the one whose accelerators are visible here, else cpu.
        narrowed: As of :func:`matching`.
        at_most: Accelerators that may be used; points that need more are skipped. None: as many as needed.
        checkpoints: Name of a checkpoint set; empty for the models of the cases.
        versions: The version of an engine that its points are resolved for. Which one is really there is known later,
            and decides then which of them exist.
        measured: Nothing is judged, so no case needs a baseline.
        attached: Somebody else runs the servers, with their models on their devices.
        hosts: There are other hosts to spread servers over, for points that all do.

    Raises:
        UsageError: A case file is wrong, or what it expects has no meaning; or the platform is not clear.
        NothingSelected: Nothing matches, or nothing that does can run.
        CannotJudge: There is a driver, and it does not say which accelerators there are.
    """
    found = matching(
        folder,
        wanted=wanted,
        platform=platform,
        narrowed=narrowed,
        checkpoints=checkpoints,
        versions=versions,
        decided=False,
        measured=measured,
    )
    here = _here({each.platform for each in found})
    found = [each for each in found if each.platform == here]
    if attached:
        found = [replace(each, skip="") if each.skip == not_started(each.case) else each for each in found]
    if hosts and all(each.case.topology.spread for each in found if each.skip in ("", NEEDS_HOSTS)):
        found = [replace(each, skip="") if each.skip == NEEDS_HOSTS else each for each in found]
    if at_most is not None:
        found = within(found, at_most)
    if all(each.skip for each in found):
        raise NothingSelected(f"{found[0].id} does not run: {found[0].skip}")
    unjudged = [each for each in found if not each.skip and each.case.measure_only and not measured]
    if unjudged:
        first = unjudged[0]
        raise UsageError(f"{first.case_file.path}: {first.id} has no baseline to judge by; measure it: --measure-only")
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
    seen = accelerators.look(platform)
    if seen.is_misnamed:
        raise UsageError(seen.problem)
    if seen.is_broken and not seen.devices:
        # Not silently another platform: that would be green, and for something else.
        hint = "; ".join(filter(None, (seen.next_step, "or choose another platform with --platform")))
        raise CannotJudge(f"no {platform} device can be used", cause=f"{seen.problem}; {hint}")
    return bool(seen.devices)
