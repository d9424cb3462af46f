"""Everything that the cases ask of an engine, looked up in the sources of one build."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from harness.base.domain import Platform, Server
from harness.drift.asked import Uses, everything
from harness.drift.builds import Build
from harness.drift.findings import ORDER, Finding, Report
from harness.drift.lookups import found_of
from harness.engines.capabilities import Capabilities, adapt
from harness.engines.engine import EngineSpec
from harness.plan.points import Planned

_NO_PARSER = (
    "no argument parser was found behind it, so no option could be looked up; "
    "teach harness/drift/argument_parsers.py how this build declares its options"
)


def compare(
    engine: EngineSpec,
    planned: Sequence[Planned],
    shown: Callable[[Planned], list[Server]],
    build: Build | None,
    router: Build | None,
) -> tuple[Report, Uses]:
    """What does not fit between the cases and a build.

    Args:
        engine: Its module's data.
        planned: Points of this engine.
        shown: Servers of a point.
        build: The engine; None if only its router is looked at.
        router: What stands before its servers; None if nobody looks at it.

    Returns:
        The report, without news; and all that was asked.
    """
    translated: dict[str, str] = {}

    def spelt(each: Planned) -> list[Server]:
        servers = shown(each)
        if build is None or not build.parser.options:
            return servers
        return [one if one.role == "router" else _adapted(engine, build, one, translated) for one in servers]

    uses = everything(planned, engine, spelt)
    report = Report(", ".join(str(each.sources) for each in (build, router) if each), points=len(planned))
    report.notes += [
        f"{old}: this build does not have it; the harness translates it: {new}" for old, new in translated.items()
    ]
    programs: tuple[tuple[str, Build | None], ...] = (("engine", build), ("router", router))
    for program, each in programs:
        wanted = {asked: by for asked, by in uses.items() if asked.program == program}
        if each is None:
            if wanted:
                report.unseen.append(f"what is asked of the {program}: its sources are not here")
            continue
        report.asked += len(wanted)
        _look(engine, each, wanted, report)
        report.unseen += [f"{path}: this Python cannot parse it" for path in each.sources.unreadable]
    report.findings = list(_merged(report.findings))
    report.unseen = list(dict.fromkeys(report.unseen))
    return report, uses


def _adapted(engine: EngineSpec, build: Build, server: Server, translated: dict[str, str]) -> Server:
    """As this build spells it, by what the harness translates when it starts a server."""
    names = set(server.env)
    for rename in engine.renames:
        names |= {name for name in (rename.new, rename.old) if isinstance(name, str) and name}
    known = [name for name in names if not name.startswith("--") and build.variable(name).known]
    options = {*build.parser.names, *(each for each in server.argv if build.parser.takes(each))}
    adapted, done = adapt(server, Capabilities(tuple(options), tuple(known)), engine.renames)
    translated |= dict(done)
    return adapted


def _look(engine: EngineSpec, build: Build, uses: Uses, report: Report) -> None:
    """Add what is found out about each thing that is asked of one program."""
    if not build.parser.options and any(asked.kind == "option" for asked in uses):
        report.findings.append(Finding("not looked at", f"python -m {build.module}", _NO_PARSER))
    for asked, by in sorted(uses.items()):
        for each in found_of(engine, build, asked):
            if each.what == "note":
                report.notes.append(f"{asked.named()}: {each.told}")
            elif each.what == "unseen":
                report.unseen.append(each.told)
            else:
                name = asked.named(with_value=each.of_value)
                report.findings.append(Finding(each.what, name, each.told, each.place, tuple(sorted(by))))
    libraries = {
        asked.name for asked in uses if asked.kind == "variable" and not asked.name.startswith(engine.prefixes)
    }
    if libraries:
        report.unseen.append(f"environment variables of libraries: {', '.join(sorted(libraries))}")


def _merged(found: Iterable[Finding]) -> Iterator[Finding]:
    """One finding of several that differ in who asks only, the worst sort first."""
    uses: dict[Finding, set[tuple[str, Platform]]] = {}
    for each in found:
        uses.setdefault(Finding(each.what, each.name, each.told, each.place), set()).update(each.uses)
    for key, by in sorted(uses.items(), key=lambda one: (ORDER.index(one[0].what), one[0].name)):
        yield Finding(key.what, key.name, key.told, key.place, tuple(sorted(by)))
