"""What a person should know of a build although nothing is wrong: what is new near what the cases use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from harness.drift.asked import Uses
from harness.drift.builds import Build
from harness.drift.findings import Report
from harness.drift.readers import declared_as
from harness.drift.sources import Sources
from harness.engines.engine import EngineSpec

_NEAR = 2  # words at the beginning that two names have in common
_MOST = 12


def add(
    report: Report, engine: EngineSpec, uses: Uses, build: Build, before: Build | None, libraries: Iterable[str]
) -> None:
    """Add notes about a build, and of what is new in it.

    Args:
        report: That they are added to.
        engine: Its module's data.
        uses: What the cases ask.
        build: The build.
        before: The build that news are counted from; None if there is none.
        libraries: Distributions of which it is news that another version is required.
    """
    report.notes += _of_the_parser(build, before)
    report.notes += _switched_on(engine, uses, build)
    if before is None:
        return
    report.since = str(before.sources)
    asked = {each.name for each in uses if each.program == "engine"}
    report.notes += _metrics(asked, build, before)
    options = build.parser.names - before.parser.names
    ours = [each for each in asked if each.startswith("--")]
    report.notes += _new("options", (each for each in options if not each.startswith("--no-")), ours)
    report.notes += _requirements(libraries, build.sources, before.sources)


def _of_the_parser(build: Build, before: Build | None) -> Iterator[str]:
    places = build.parser.places
    if places and (before is None or before.parser.places[:1] != places[:1]):
        moved = [each for name, each in (before.parser.places if before else ()) if name == places[0][0]]
        if not moved or moved[0].path != places[0][1].path:
            came = f"; it was in {moved[0].path}" if moved else ""
            yield f"the server's options begin in {places[0][0]} of {places[0][1]}{came}"
    if build.parser.hides:
        yield (
            f"{build.parser.hides[0]} takes spellings out of option_strings that the parser goes on taking "
            "(--no-enable-x): who reads that attribute alone does not see them"
        )


def _switched_on(engine: EngineSpec, uses: Uses, build: Build) -> Iterator[str]:
    """Metrics that exist only because of a variable that a case sets, and that nobody reads."""
    given = {asked.name for asked in uses if asked.kind == "variable" and asked.program == "engine"}
    for prefix in _prefixes(uses):
        declared = build.reading.metrics(prefix)
        read = {declared_as(each.sample, declared) for each in (*engine.metrics, *engine.inside.gauges)}
        for metric in declared.values():
            for name in sorted(given & metric.guards) if metric.name not in read else ():
                yield f"{metric.name} is there only with {name}, which a case sets, and nothing here reads it"


def _prefixes(uses: Uses) -> list[str]:
    return sorted({each.name.partition(":")[0] + ":" for each in uses if each.kind == "metric" and ":" in each.name})


def _metrics(asked: set[str], build: Build, before: Build) -> Iterator[str]:
    for prefix in sorted({each.partition(":")[0] + ":" for each in asked if ":" in each and not each.startswith("-")}):
        now, then = build.reading.metrics(prefix), before.reading.metrics(prefix)
        used = {name for each in asked if (name := declared_as(each, now))}
        yield from _new("metrics", (name for name in now.keys() - then.keys() if name not in used), used)
        for name in sorted(used & now.keys() & then.keys()):
            if now[name].documentation != then[name].documentation and now[name].documentation:
                yield f"{name} is described anew: {now[name].documentation!r}; it was {then[name].documentation!r}"
        for name in sorted(used - then.keys()):
            yield f"{name} is new and is read here"


def _new(what: str, names: Iterable[str], ours: Iterable[str]) -> Iterator[str]:
    """Names that begin as one of ours does."""
    beginnings = {tuple(_words(each)[:_NEAR]) for each in ours if len(_words(each)) >= _NEAR}
    near = sorted(each for each in names if tuple(_words(each)[:_NEAR]) in beginnings)
    if near:
        more = f" and {len(near) - _MOST} more" if len(near) > _MOST else ""
        yield f"new {what} near those that are used: {', '.join(near[:_MOST])}{more}"


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.partition(":")[2] or name)


def _requirements(libraries: Iterable[str], now: Sources, then: Sources) -> Iterator[str]:
    for name in sorted(libraries):
        new, old = (_required(each, name) for each in (now, then))
        if new != old:
            yield f"requires {new or f'{name} no more'}; it was {old or 'not required'}"


def _required(sources: Sources, name: str) -> str:
    """What is required of a distribution without an extra, as it is written."""
    for line in sources.requires:
        spelt, _, marker = line.partition(";")
        found = re.match(r"[A-Za-z0-9._-]+", spelt)
        if found and re.sub(r"[-_.]+", "-", found[0]).lower() == name and "extra" not in marker:
            return " ".join(spelt.split())
    return ""
