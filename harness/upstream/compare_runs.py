"""Upstream's sweeps and the steps of its CI against the matrices and suites of the cases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from harness.upstream.comparison_report import Line
from harness.upstream.figures import Point
from harness.upstream.ours import Held, Topology
from harness.upstream.steps import Step

_MODEL = ("MODEL_NAMES", "MODEL_NAME", "MODEL")
_UNDERSTOOD = {
    *_MODEL, "DECODER_TP_SIZE", "DP_EP", "KV_CONNECTOR", "NUM_SPEC_TOKENS", "PREFILLER_PP_SIZE", "PREFILLER_TP_SIZE",
    "SD_METHOD", "SD_MODEL",
}  # fmt: skip
SIZES = (
    "BLOCK_SIZE", "DECODE_BLOCK_SIZE", "ENFORCE_EAGER", "GPU_MEMORY_UTILIZATION", "KV_BUFFER_DEVICES",
    "KV_CACHE_MEMORY_BYTES", "MAX_MODEL_LEN", "PREFILL_BLOCK_SIZE", "VLLM_SERVE_EXTRA_ARGS",
)  # fmt: skip
"""Settings of a sweep that say how large a server is, and not what is tested: they are not compared."""


def points(
    theirs: Sequence[Point],
    ours: Mapping[Topology, list[tuple[str, Mapping[str, str]]]],
    held: Sequence[Held],
) -> Iterator[Line]:
    """Points of upstream's sweeps that the cases have or lack, and points of cases that no sweep has any more.

    Args:
        theirs: All points that were read.
        ours: Topologies, with cases and the environment of their decode servers.
        held: The figures of the cases, which say what tests a case is from.
    """
    swept: set[Topology] = set()
    for point in theirs:
        wanted = topology(point)
        if not wanted.target or not any(name in point.variables for name in _UNDERSTOOD):
            yield Line("not read", "point", point.place.symbol, f"no model: {_settings(point)}", str(point.place))
            continue
        swept.add(wanted)
        yield _point(point, wanted, ours.get(wanted, []))
    folders = {point.place.path.rpartition("/")[0] for point in theirs}
    moved = {(each.target, each.connector) for each in swept}
    for each, users in ours.items():
        cases = tuple(dict.fromkeys(case for case, _ in users))
        from_there = [one for one in held if one.case in cases and _folders(one) & folders]
        if (each.target, each.connector) in moved and from_there and each not in swept:
            yield Line("gone", "point", str(each), "no sweep of upstream's has it", "", cases)


def _folders(held: Held) -> set[str]:
    return {path.rpartition("/")[0] for path in held.files}


def topology(point: Point) -> Topology:
    """What a point of a sweep asks for; what it does not set is the default of the script that it runs."""
    decode = int(point.get("DECODER_TP_SIZE") or 1)
    spread = bool(point.variables.get("DP_EP"))
    method = point.get("SD_METHOD").lower()
    tokens = point.get("NUM_SPEC_TOKENS")
    prefill = int(point.get("PREFILLER_TP_SIZE") or 1), int(point.get("PREFILLER_PP_SIZE") or 1), 1
    return Topology(
        point.get(*_MODEL),
        prefill,
        (1, 1, decode) if spread else (decode, 1, 1),
        point.get("KV_CONNECTOR") or "NixlConnector",
        method,
        int(tokens) if method and tokens.isdecimal() else None,
    )


def _point(point: Point, wanted: Topology, users: Sequence[tuple[str, Mapping[str, str]]]) -> Line:
    place = str(point.place)
    other = [name for name in point.variables if name not in _UNDERSTOOD and name not in SIZES]
    unknown = [name for name in other if not name.startswith("VLLM_")]
    environment = {name: point.variables[name] for name in other if name.startswith("VLLM_")}
    having = [case for case, env in users if all(env.get(name) == value for name, value in environment.items())]
    if unknown:
        return Line("new", "point", str(wanted), f"sets {', '.join(unknown)}, which no case has", place)
    if having:
        return Line("same", "point", str(wanted), _settings(point), place, tuple(dict.fromkeys(having)))
    if users:
        cases = tuple(dict.fromkeys(case for case, _ in users))
        asked = ", ".join(f"{name}={value}" for name, value in environment.items())
        return Line("differs", "point", str(wanted), f"upstream sets {asked}, and no such case does", place, cases)
    return Line("new", "point", str(wanted), "no case has it", place)


def _settings(point: Point) -> str:
    return " ".join(f"{name}={value}" for name, value in point.variables.items())


def steps(theirs: Sequence[Step], patterns: Mapping[str, Sequence[str]], tests: Sequence[str]) -> Iterator[Line]:
    """Steps that suites stand for and upstream does not run any more, and steps over the same tests of no suite.

    Args:
        theirs: All steps of upstream's CI; empty where none is listed: then nothing is said.
        patterns: By suite, the names of the steps that it stands for.
        tests: Folders and files of upstream's tests that suites are about.
    """
    for suite, each in patterns.items() if theirs else ():
        for pattern in each:
            like = [step for step in theirs if step.is_like(pattern)]
            if not like:
                yield Line("gone", "step", pattern, "no step of upstream's CI has this name", "", (suite,))
            elif all(step.switched_off for step in like):
                told = "upstream's CI has it in a comment only"
                yield Line("gone", "step", pattern, told, str(like[0].place), (suite,))
            else:
                yield Line("same", "step", pattern, f"{len(like)} steps", str(like[0].place), (suite,))
    known = [pattern for each in patterns.values() for pattern in each]
    for step in theirs:
        if any(step.is_like(pattern) for pattern in known) or not _runs(step, tests):
            continue
        told = "no suite stands for it" + (", and it stands in a comment only" if step.switched_off else "")
        yield Line("new", "step", step.names[0] if step.names else "unnamed", told, str(step.place))


def _runs(step: Step, tests: Sequence[str]) -> bool:
    """Whether its commands name one of these folders or files; commands may leave out the first folders."""
    for each in tests:
        parts = re.escape(each.rstrip("/")).replace(r"\*", r"\S*").replace(r"\?", r"\S").split("/")
        for path in {"/".join(parts[index:]) for index in range(min(2, len(parts) - 1))}:
            if any(re.search(rf"(^|[\s/]){path}($|[\s/])", command) for command in step.commands):
                return True
    return False
