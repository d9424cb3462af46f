"""The drift of a build from what the cases ask, from the sources to the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.base.domain import Platform
from harness.base.errors import NothingSelected
from harness.drift import news
from harness.drift.asked import running, started
from harness.drift.builds import Build
from harness.drift.compare import compare
from harness.drift.findings import Report
from harness.engines import ENGINES
from harness.engines.engine import EngineSpec
from harness.host.package_index import Unavailable
from harness.images import base_images
from harness.plan.points import Planned
from harness.upkeep import engine_sources
from harness.upkeep.engine_sources import Given


def reports(
    spec: str, planned: Sequence[Planned], variable: Callable[[Platform], str], since: str | None
) -> list[Report]:
    """A report on every build that ``spec`` names.

    Args:
        spec: As :func:`harness.upkeep.engine_sources.given` takes it.
        planned: Points of the cases that count.
        variable: The visible-devices variable of a platform.
        since: Version of the engine that news are counted from; empty for no news. None: that of the pinned image.

    Raises:
        UsageError: ``spec`` names no build.
        NothingSelected: None of the cases is for this engine.
        CannotJudge: The build cannot be had.
    """
    found = engine_sources.given(spec)
    engine = found[0].engine
    points = running(planned, engine.name)
    if not points:
        raise NothingSelected(f"none of these cases is for {engine.name}; harness plan lists them")
    version = _pinned(engine) if since is None else since
    before, why = _before(engine, version) if any(each.sources for each in found) else (None, "")
    return [_report(each, points, variable, before, why) for each in found]


def _report(
    given: Given, points: Sequence[Planned], variable: Callable[[Platform], str], before: Build | None, why: str
) -> Report:
    engine = given.engine
    build = Build(given.sources, engine.module) if given.sources else None
    router = Build(given.router, engine.router_module) if given.router else None
    if build and (version := build.sources.version):  # as a run would take them, which asks the build
        there = [each.on(version) if each.conditional else each for each in points]
        points = running(there, engine.name)
    report, uses = compare(engine, points, lambda each: started(each, variable), build, router)
    report.unseen += [each for each in (given.missing, why) if each]
    if build:
        same = before is not None and before.sources.version == build.sources.version
        libraries = {name for each in ENGINES.values() for name in each.distributions}
        news.add(report, engine, uses, build, None if same else before, libraries)
    return report


def _before(engine: EngineSpec, version: str) -> tuple[Build | None, str]:
    """The release that news are counted from, or why there is none."""
    if not version:
        return None, ""
    try:
        found = engine_sources.release(engine, version)
    except Unavailable as error:
        return None, f"news since {version}: {error}"
    return (Build(found, engine.module), "") if found else (None, f"news since {version}: the index has no such wheel")


def _pinned(engine: EngineSpec) -> str:
    """Version of the engine in the pinned image for CUDA, as its tag says; empty without pins."""
    if not base_images.FILE.is_file():
        return ""
    pins = base_images.load()
    tag = next((pin.tag for (name, platform), pin in pins.items() if (name, platform) == (engine.name, "cuda")), "")
    return tag.removeprefix("v").partition("-")[0]
