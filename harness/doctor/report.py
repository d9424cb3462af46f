"""What `harness doctor` found, as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import rich.box
import rich.console
import rich.markup
import rich.table
from pydantic import TypeAdapter

from harness.base import secrets
from harness.base.domain import Device
from harness.base.texts import one_line
from harness.doctor.facts import Accelerators, ContainerEngine, Facts, Folder
from harness.doctor.verdict import Verdict

_COLOURS = {"yes": "green", "partly": "yellow", "no": "red"}
_GIB = 1 << 30
_SCHEMA = 1


def document(facts: Facts, verdicts: Sequence[Verdict]) -> str:
    """Everything, as JSON."""
    sessions = [
        {
            "session": each.session,
            "suite": each.suite,
            "platform": each.platform,
            "answer": each.answer,
            "points": each.points,
            "runs": each.runs,
            "cases": each.cases,
            "runtime": each.way,
            "command": each.command,
            "instead": each.instead,
            "libraries": list(each.libraries),
            "obstacles": [{**vars(obstacle), "points": count} for obstacle, count in each.obstacles],
        }
        for each in verdicts
    ]
    machine = TypeAdapter(Facts).dump_python(facts, mode="json")
    found = secrets.masked({"schema_version": _SCHEMA, "machine": machine, "sessions": sessions})
    return json.dumps(found, indent=2)


def show(facts: Facts, verdicts: Sequence[Verdict], console: rich.console.Console) -> None:
    """Two tables on a terminal, else one plain line a fact and a session."""
    if not console.is_terminal:
        for name, text in _facts(facts):
            console.print(_shown(f"{name}: {text}"), markup=False, soft_wrap=True)
        for each in verdicts:
            console.print(_shown(f"{each.session}: {_plain(each)}"), markup=False, soft_wrap=True)
        return
    table = rich.table.Table(box=None, show_header=False)
    for name, text in _facts(facts):
        table.add_row(rich.markup.escape(name), rich.markup.escape(_shown(text)))
    console.print(table)
    table = rich.table.Table(box=rich.box.SIMPLE)
    table.add_column("session", no_wrap=True)
    table.add_column("runs", no_wrap=True)
    table.add_column("why not, and what next", overflow="fold")
    for each in verdicts:
        lines = [line for line in (_reason(each), _libraries(each), _next(each)) if line]
        answer = f"[{_COLOURS[each.answer]}]{_answer(each)}[/]"
        table.add_row(each.session, answer, "\n".join(rich.markup.escape(_shown(line)) for line in lines))
    console.print(table)


def _shown(text: str) -> str:
    return one_line(secrets.mask(text))


def _answer(each: Verdict) -> str:
    return f"{each.runs} of {each.points}" if each.answer == "partly" else each.answer


def _plain(each: Verdict) -> str:
    """One line that can be searched for."""
    answer = f"partly ({each.runs} of {each.points} points)" if each.answer == "partly" else each.answer
    return "; ".join(filter(None, (f"{answer}: {_reason(each)}".removesuffix(": "), _libraries(each), _next(each))))


def _reason(each: Verdict) -> str:
    if not each.obstacles:
        return f"not in a container: {each.instead}" if each.instead else ""
    (obstacle, count), *others = each.obstacles
    counted = f"{count} of {each.points}: " if others or each.runs else ""
    more = f" (and {len(others)} more reasons: --format json)" if len(others) > 1 else ""
    more = more or (f" (and, {others[0][1]} times, {others[0][0].kind})" if others else "")
    return f"{counted}{obstacle.reason}{more}"


def _libraries(each: Verdict) -> str:
    return f"not verified: {'; '.join(each.libraries)}" if each.libraries else ""


def _next(each: Verdict) -> str:
    steps = [f"next: {each.obstacles[0][0].next_step}"] if each.obstacles else []
    return "; ".join([*([f"run: {each.command}"] if each.command else []), *steps])


def _facts(facts: Facts) -> Iterator[tuple[str, str]]:
    yield "python", f"{facts.python}, {facts.system} {facts.kernel} {facts.processor}"
    memory = f"{_gib(facts.available_bytes)} of {_gib(facts.memory_bytes)} available"
    shm = "none" if facts.shm_bytes is None else f"{_gib(facts.shm_bytes)} free"
    yield "processors", str(facts.cpus)
    yield "memory", f"{memory}; shared memory: {shm}"
    for platform, found in facts.accelerators.items():
        yield platform, _accelerators(found)
    yield "container engine", _container(facts.container)
    if facts.cdi:
        yield "cdi", ", ".join(f"{count} x {kind}" for kind, count in facts.cdi.items())
    for name, folder in vars(facts.folders).items():
        if folder is not None:
            yield f"disk: {name}", _folder(folder)
    for name, source in facts.engines.items():
        parts = [source.given or source.environment, source.image]
        has = ", ".join(filter(None, parts)) or ("locked, not installed" if source.locked else "nothing")
        yield f"engine: {name}", source.given_problem or "; ".join(filter(None, [has, source.flags]))
    if facts.models:
        yield "models", f"{sum(facts.models.values())} of {len(facts.models)} in the hub's cache; {_token(facts)}"
    for name, file in facts.data.items():
        yield f"data: {name}", file.problem or "there, as pinned"
    for name, reach in facts.network.items():
        yield f"network: {name}", f"{reach.host}: {reach.problem or 'answers'}"
    if not facts.network:
        yield "network", "nobody was asked"


def _token(facts: Facts) -> str:
    return "a token is set" if facts.token else "no token is set"


def _accelerators(found: Accelerators) -> str:
    if not found.devices:
        return f"none: {'; '.join(filter(None, (found.problem, found.next_step)))}"
    driver = f"; driver {found.driver}" if found.driver else ""
    taken = "".join(f"; {name} is taken: {who}" for name, who in found.taken.items())
    taken += "".join(f"; {name}: {why}" for name, why in found.unknown.items())
    taken += "".join(f"; {line}" for line in found.said)
    return f"{len(found.devices)}: {', '.join(map(_device, found.devices))}{driver}{taken}"


def _device(device: Device) -> str:
    memory = _gib(device.memory_bytes) if device.memory_bytes else "of unknown memory"
    kind = f" ({device.architecture})" if device.architecture else ""
    return f"{device.name} {device.product}{kind} {memory}{' (MIG)' if device.whole else ''}"


def _container(engine: ContainerEngine) -> str:
    if engine.problem:
        return f"none answers: {engine.problem}"
    parts = [
        engine.version,
        f"builds with {engine.builder}" if engine.builder else f"builds nothing: {engine.builder_problem}",
        "CDI" if engine.cdi else "no CDI",
        f"NVIDIA by {engine.nvidia}" if engine.nvidia else "",
        f"cgroup v{engine.cgroup}" if engine.cgroup else "",
        "rootless" if engine.rootless else "",
    ]
    return ", ".join(filter(None, parts))


def _folder(folder: Folder) -> str:
    free = "" if folder.free_bytes is None else f"{_gib(folder.free_bytes)} free"
    return f"{folder.path}: {', '.join(filter(None, (free, folder.problem))) or 'not on this machine'}"


def _gib(amount: int) -> str:
    return f"{amount / _GIB:.1f} GiB"
