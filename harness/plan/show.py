"""A case as a person would type it: every server, the first question, and every check with where it comes from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from harness import protocols
from harness.base.domain import Server
from harness.base.settings import listed
from harness.cases.model import Case
from harness.engines import ENGINES
from harness.engines.engine import Place, shell_line
from harness.plan.points import Planned, attached_only
from harness.plan.request_bodies import chat_prompt, request

_FIRST_PORT = 8000
_HOSTS = ("192.0.2.1", "192.0.2.2")
"""Of servers that are spread over hosts, by role: addresses for examples (RFC 5737)."""
_URL = "http://127.0.0.1:8000"
"""Of a server that somebody else runs."""
_FOLDER = "$CHECKPOINTS"
_NOT_VALUES = ("origin", "send_to", "history", "passport")
_USUALLY_ASKED: tuple[tuple[str, Any], ...] = (("endpoint", "completions"), ("looks", []))
_USUAL = {"status": "gating", "counts": "drafts"}
_FIRST = ("relative_tolerance", "absolute_tolerance", "expected")
_EXAMPLES = 10  # rows that make a data file: a question and the most shots before it


def servers(case: Case, variable: str) -> list[Server]:
    """The servers of a case somewhere: ports from 8000 on, devices from 0 on, checkpoints below ``$CHECKPOINTS``.

    None of somebody else's.

    Args:
        case: Of one platform.
        variable: The platform's visible-devices variable; empty for a platform without devices.
    """
    if attached_only(case):
        return []
    checkpoints = {model.name: model.path or f"{_FOLDER}/{model.name}" for model in case.models()}
    engine = ENGINES[case.engine.name]
    place = Place("python", checkpoints, _counter(_FIRST_PORT), _named_devices(variable), engine.command)
    spread = zip(case.topology.roles, _HOSTS, strict=False) if case.topology.spread else ()
    return engine.servers(case, place, {role: replace(place, host=host, interface="eth0") for role, host in spread})


def _counter(first: int) -> Callable[[int], int]:
    """Hands out blocks of consecutive numbers: the first of each."""
    blocks = count(first)

    def take(width: int) -> int:
        return [next(blocks) for _ in range(width)][0]  # noqa: RUF015 # all of the block are taken

    return take


def _named_devices(variable: str) -> Callable[[int], dict[str, str]]:
    take = _counter(0)

    def apart(number: int) -> dict[str, str]:
        first = take(number)
        return {variable: ",".join(map(str, range(first, first + number)))} if variable else {}

    return apart


def show(planned: Planned, variable: str) -> str:
    """Shell lines and comments; nothing in it depends on the machine. Arguments as of :func:`servers`."""
    case = planned.case
    started = servers(case, variable)
    checkpoints = f" --checkpoints {planned.checkpoints}" if planned.checkpoints else ""
    lines = [
        f"# {planned.id} on {planned.platform}: {_folded(case.title)}",
        f"# {_command(planned)}{checkpoints}",
        f"# {_devices(planned)}, about {case.expected_seconds} s",
    ]
    if planned.conditional:
        lines.append(f"# as it is on {planned.engine_version.rstrip(',')}")
    if planned.skip:
        lines.append(f"# does not run: {_folded(planned.skip)}")
    lines += ["", "CHECKPOINTS=$PWD/checkpoints", *_models(case)] if started else []
    for server in started:
        where = f" on another host, {server.host}" if server.is_elsewhere else ""
        lines += ["", f"# {server.name}{where}", *_server(server)]
    lines += ["", *_evaluation(case, started), "", *_checks(case)]
    return "\n".join(lines) + "\n"


def _command(planned: Planned) -> str:
    if planned.on_menu:
        return f"./nox -s {planned.session} -- --case {shlex.quote(planned.point)}"
    only = " --measure-only" if planned.case.measure_only else ""
    return f"harness run {shlex.quote(planned.point)} --url {_URL}{only}"


def _folded(text: str) -> str:
    """In one line: what follows another one would be a command."""
    return " ".join(text.split())


def _models(case: Case) -> list[str]:
    """How the models get below ``$CHECKPOINTS``."""
    repositories = [model for model in case.models() if model.repo]
    made = ['harness checkpoints make "$CHECKPOINTS"'] if any(model.known_answer for model in case.models()) else []
    named = [model.published for model in case.models() if model.published]
    made += [f'harness checkpoints make "$CHECKPOINTS" {" ".join(named)}'] if named else []
    fetched = [f'{model.download} --local-dir "{_FOLDER}/{model.repo}"' for model in repositories]
    return made + fetched


def _server(server: Server) -> list[str]:
    """One with links starts in a folder of its own: two may give one name to different models."""
    links = [f'ln -sfn "{target}" {name}' for name, target in server.links.items()]
    probes = ", ".join(f"{probe.what} on port {probe.port}" for probe in server.probes)
    lines = [f"{shell_line(server)} &", f"# ready: {probes}"]
    return [f"mkdir -p {server.name} && cd {server.name}", *links, *lines, "cd .."] if links else lines


def _devices(planned: Planned) -> str:
    number, memory = planned.devices, planned.case.device_memory_gib
    counted = {0: "no device", 1: "1 device"}.get(number, f"{number} devices")
    if planned.share:
        counted += f"{' or fewer' if number > 1 else ''}, shared: {planned.case.device_share_gib} GiB for each server"
    kinds = f" ({' or '.join(planned.case.device_architectures)})" if planned.case.device_architectures else ""
    return f"{counted}{f' of at least {memory} GiB' if memory else ''}{kinds}" if number else counted


def _evaluation(case: Case, started: list[Server]) -> list[str]:
    """What is asked, its first item as a request, and what is exchanged then."""
    told = case.evaluation.model_dump(exclude_none=True).items()
    settings = {name: value for name, value in told if (name, value) not in _USUALLY_ASKED}
    lines = [f"# evaluation: {', '.join(f'{name} {value}' for name, value in settings.items())}"]
    lines += [f"# control {name}: the same, sent to {control.send_to}" for name, control in case.controls.items()]
    lines += [f"# comparison {name}: the same, sent to {other.send_to}" for name, other in case.comparisons.items()]
    urls = [server.url for server in started] or [_URL]
    entry = urls[-1] if case.evaluation.send_to == "entry" else _first(started, case.evaluation.send_to).url
    needed = protocols.datasets(case.evaluation)
    lines += [f"# data {each.file}, {each.licence}, SHA-256 {each.sha256}: {each.url}" for each in needed]
    # The real questions are not ours to print, and may not be at hand.
    data = {each.file: "\n".join([each.example] * _EXAMPLES) for each in needed}
    item = asked = protocols.items(case.evaluation.model_copy(update={"items": 1}), data)[0]
    if item.chat and case.evaluation.endpoint == "completions":
        lines.append(_curl(f"{urls[0]}/tokenize", chat_prompt(case, item)))
        item = replace(item, prompt="the tokens that this answers", chat=False)
    first = request(case, item)
    if item is not asked:
        first.body["prompt"] = [first.body["prompt"]]
    names = [each.name for each in case.evaluation.exchanges()]
    then = [f"# then {len(names)} exchanges: {', '.join(names)}"] if names else []
    return [*lines, _curl(f"{entry}{first.path}", first.body), *then]


def _curl(url: str, body: dict[str, Any]) -> str:
    return f"curl {url} --json {shlex.quote(json.dumps(body, ensure_ascii=False))}"


def _first(started: list[Server], role: str) -> Server:
    return next(server for server in started if server.role == role)


def _checks(case: Case) -> list[str]:
    """Every check: its values, then its origin."""
    tables: dict[str, dict[str, Any]] = case.checks.model_dump(exclude_none=True)
    tables |= {f"control[{name}]": control.model_dump(exclude_none=True) for name, control in case.controls.items()}
    tables |= {f"parity[{name}]": other.model_dump(exclude_none=True) for name, other in case.comparisons.items()}
    lines = []
    for name, table in tables.items():
        ordered = {key: table[key] for key in (*(key for key in _FIRST if key in table), *table)}
        values = ", ".join(f"{key} {value}" for key, value in ordered.items() if _is_a_value(key, value))
        lines += [f"# check {name}: {values}", f"#   {_folded(table['origin'])}"]
        if passport := table.get("passport"):
            measured = ", ".join(f"{key} {value}" for key, value in passport.items() if value != "")
            lines.append(f"#   measured: {_folded(measured)}")
        lines += [f"#   not used: {_figure(past['expected'])}, {_past(past)}" for past in table.get("history", [])]
    return lines


def _is_a_value(key: str, value: object) -> bool:
    return key not in _NOT_VALUES and _USUAL.get(key) != value


def _figure(expected: float | list[float]) -> str:
    return ", ".join(f"{each:g}" for each in listed(expected))


def _past(past: dict[str, Any]) -> str:
    """Where another figure is from, and how it went."""
    ended = f", until {past['until']}" if past.get("until") else ""
    return _folded(f"{past['origin']}{ended}{f': {reason}' if (reason := past.get('reason')) else ''}")
