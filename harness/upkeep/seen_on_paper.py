"""What engines' modules say they can see of what cases ask for: a page of it, and axes nobody could tell apart."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from harness.cases.load import CaseFile
from harness.cases.matrix import Variant
from harness.engines import ENGINES
from harness.engines.engine import EngineSpec
from harness.plan.points import Planned, everything
from harness.upkeep.tables import table

_HEAD = """# Asked for and in force

<!-- written by `harness generate` from the sights of harness/engines; change the text there -->

A flag that an engine takes and does not heed passes for the flag at work. So the check `in_force`, which every case
has, reads of each server what is in force and compares it with every setting that the case asks for: flags, what is
inside their JSON, and environment variables. Something else than was asked for is a failure that names the setting,
both values and the server. What no server shows is no failure and no pass: it is counted and named in the result, on
the console and in the JUnit file. Where nothing at all could be read, because the wording of a build's log moved, the
check is skipped and says so.

What is in force is what the server resolved. That this is also obeyed to the end only an evaluation shows. At the end
of a run, points of one case that ask for different things and of which nothing that was seen differs are named.
`harness check` names axes of a matrix on which that could not be otherwise.

Seen at work on the CPU engine of vLLM 0.32.0: `attention-backend = "TRITON_ATTN"` is taken there and not heeded, and
the result says `server: attention-backend is CPU_ATTN, and TRITON_ATTN was asked for`. What of this only a GPU, or
SGLang, shows is read from the sources of the releases that the modules name; no run on a GPU was judged by it yet.

Below are the settings that the cases here ask for. Others are looked for in the same places.
"""


def asked(planned: Iterable[Planned]) -> dict[str, set[str]]:
    """Every setting that any point asks for, by engine."""
    found: dict[str, set[str]] = defaultdict(set)
    for each in planned:
        spec = ENGINES[each.case.engine.name]
        for role in each.case.topology.roles:
            found[spec.name].update(spec.asks(each.case, role))
    return {engine: settings for engine, settings in found.items() if settings}


def shown(spec: EngineSpec, setting: str) -> list[str]:
    """Where a server shows it; nothing if nowhere."""
    return list(dict.fromkeys(sight.where for sight in spec.sights if sight.shows(setting)))


def reason(spec: EngineSpec, setting: str) -> str:
    """Why nothing shows a setting; empty where nobody said."""
    return next((why for name, why in spec.unseen.items() if fnmatchcase(setting, name)), "")


def unseen(spec: EngineSpec, settings: Iterable[str]) -> list[str]:
    """Those of some settings that nothing shows."""
    return sorted(each for each in settings if not shown(spec, each))


def page(case_files: Sequence[CaseFile]) -> str:
    """The page of the documentation."""
    text = _HEAD
    for engine, settings in sorted(asked(everything(case_files)).items()):
        spec = ENGINES[engine]
        hidden = unseen(spec, settings)
        seen = sorted(settings - set(hidden))
        text += f"\n## {engine}: {len(seen)} seen, {len(hidden)} unseen\n\n"
        places = [["setting", "where a server shows it"]]
        places += [[f"`{each}`", "; ".join(shown(spec, each))] for each in seen]
        reasons = [["unseen", "why"], *([f"`{each}`", reason(spec, each)] for each in hidden)]
        text += f"{table(places)}\n\n{table(reasons)}\n"
    return text


def blind_axes(planned: Sequence[Planned]) -> Iterator[str]:
    """Axes of a matrix with labels whose points nobody could tell apart by what is in force.

    Settings that nothing shows, and of which the engine's module says why, are on record there.
    """
    groups: dict[tuple[str, str], list[Planned]] = defaultdict(list)
    for each in planned:
        if not each.case_file.matrix(each.platform).excluded(each.variant):
            groups[each.case_file.id, each.platform].append(each)
    for points in groups.values():
        blind: dict[tuple[str, str, str], set[str]] = {}
        told: set[tuple[str, str, str]] = set()
        for one, other in itertools.combinations(points, 2):
            if (axis := _only(one.variant, other.variant)) is None or (names := _hidden(one, other)) is None:
                continue
            told |= set() if names else {axis}
            blind.setdefault(axis, set()).update(names)
        for axis, names in blind.items():
            if axis not in told:
                yield (
                    f"{points[0].case_file.path}: matrix.{axis[0]}: {axis[1]} and {axis[2]} cannot be told apart in "
                    f"force on {points[0].platform}: no server of {points[0].case.engine.name} shows "
                    f"{', '.join(sorted(names))}; add a sight to the engine's module, or say in its unseen why not"
                )


def _only(one: Variant, other: Variant) -> tuple[str, str, str] | None:
    """The axis that two points differ on, and their labels; None if it is not one alone."""
    differ = [(mine[0], mine[1], theirs[1]) for mine, theirs in zip(one, other, strict=True) if mine != theirs]
    return differ[0] if len(differ) == 1 else None


def _hidden(one: Planned, other: Planned) -> set[str] | None:
    """What two points ask for differently and nothing shows; empty if they can be told apart, None if nobody asks."""
    spec = ENGINES[one.case.engine.name]
    if not spec.sights or any(getattr(one.case, key) != getattr(other.case, key) for key in ("engine", "topology")):
        return set()
    if one.case.models() != other.case.models() or one.case.evaluation != other.case.evaluation:
        return set()
    names: set[str] = set()
    for role in one.case.topology.roles:
        names |= _differing(spec.asks(one.case, role), spec.asks(other.case, role))
    if names - set(unseen(spec, names)):
        return set()
    return None if all(reason(spec, each) for each in names) else names


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> set[str]:
    absent = object()
    return {each for each in one.keys() | other.keys() if one.get(each, absent) != other.get(each, absent)}
