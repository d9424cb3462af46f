"""Where the sources of a build come from: the index, a wheel, a checkout, an environment, an image. None of it is run.

Of an environment its interpreter says where the package is; it does not import it.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from harness.base import programs
from harness.base.domain import PLATFORMS
from harness.base.errors import CannotJudge, UsageError
from harness.base.texts import cause
from harness.containers import image_store
from harness.containers.lifecycle import ContainerFailed
from harness.drift.sources import Sources
from harness.engines import ENGINES
from harness.engines.engine import EngineSpec
from harness.host import data_files, package_index, processes
from harness.host.package_index import Unavailable, Wheel
from harness.upkeep import image_sources
from harness.upkeep.image_sources import METADATA
from harness.upkeep.probes import packages

_CACHE = "sources"
_IMAGE = "image:"
_FOLDERS = ("", "python", "src", "py_src", "bindings/python", "bindings/python/src")
"""Where a repository has the packages that it makes."""
_PACKAGES = programs.text(packages)


@dataclass(frozen=True)
class Given:
    """The programs of one build.

    Attributes:
        engine: Whose.
        sources: Of the engine; None where only the router was given.
        router: Of what stands before its servers; None if it is not to be had.
        missing: Why it is not; empty if it is, or if the engine has none.
    """

    engine: EngineSpec
    sources: Sources | None
    router: Sources | None = None
    missing: str = ""


def given(spec: str) -> list[Given]:
    """Every build that ``spec`` names.

    Args:
        spec: A requirement (``vllm==0.33.0``, ``vllm`` for the newest, ``vllm>=0.30`` for every release since), a
            wheel, a folder with a checkout, an interpreter whose environment holds the engine, or ``image:`` and the
            name of an image that the container engine has.

    Raises:
        UsageError: It is none of these, or not of an engine.
        CannotJudge: It cannot be had.
    """
    path = Path(spec)
    try:
        there = path.exists()
    except (OSError, ValueError):
        there = False
    if there and path.is_dir():
        return [_of_checkout(path)]
    if there and path.suffix == ".whl":
        return [_of_wheel(path)]
    if there:
        return [_of_interpreter(path)]
    if spec.startswith(_IMAGE):
        return [_of_image(spec.removeprefix(_IMAGE))]
    return _of_index(spec)


def release(engine: EngineSpec, version: str) -> Sources | None:
    """One release of an engine from the index, to compare with; None if it has no wheel of it.

    Raises:
        Unavailable: The index does not answer.
    """
    name = own_distributions(engine)[0]
    found = [each for each in package_index.wheels(name) if str(each.version) == version]
    return _fetched(name, found) if found else None


def own_distributions(engine: EngineSpec) -> list[str]:
    """The engine itself, whatever it was built for."""
    names = {engine.name, *(f"{engine.name}-{platform}" for platform in PLATFORMS)}
    return [name for name in engine.distributions if name in names] or [engine.name]


def routers(engine: EngineSpec) -> list[str]:
    """What stands before its servers."""
    return [name for name in engine.distributions if name.endswith("router")] if engine.router_module else []


def _package(module: str) -> str:
    return module.partition(".")[0]


def _of_index(spec: str) -> list[Given]:
    try:
        wanted = Requirement(spec)
    except InvalidRequirement as error:
        raise UsageError(
            f"{spec}: no file or folder, no requirement such as vllm==0.33.0 ({cause(error)}), and no {_IMAGE}NAME"
        ) from None
    name = canonicalize_name(wanted.name)
    engine = _engine_of(name)
    try:
        found = package_index.wheels(name)
        releases = _chosen(spec, wanted, found)
        built = [_fetched(name, [each for each in found if each.version == one]) for one in releases]
    except Unavailable as error:
        raise CannotJudge(f"{spec} cannot be looked at", cause=str(error)) from error
    if name in routers(engine):
        return [Given(engine, None, each) for each in built]
    router, missing = _newest_router(engine)
    return [Given(engine, each, router, missing) for each in built]


def _engine_of(name: str) -> EngineSpec:
    known = {each: engine for engine in ENGINES.values() for each in (*own_distributions(engine), *routers(engine))}
    if name not in known:
        raise UsageError(f"{name}: not the distribution of an engine; there are {', '.join(sorted(known))}")
    return known[name]


def _chosen(spec: str, wanted: Requirement, found: Iterable[Wheel]) -> list[Version]:
    """The releases that a requirement means: the newest without one, else all."""
    exact = any(each.operator in ("==", "===") for each in wanted.specifier)
    releases = sorted({each.version for each in found if exact or not each.yanked})
    fitting = list(wanted.specifier.filter(releases))
    if not fitting:
        newest = f"the newest is {releases[-1]}" if releases else "there is no wheel at all"
        raise UsageError(f"{spec}: the package index has no such release as a wheel; {newest}")
    return fitting if wanted.specifier else fitting[-1:]


def _newest_router(engine: EngineSpec) -> tuple[Sources | None, str]:
    for name in routers(engine):
        try:
            found = [each for each in package_index.wheels(name) if not each.yanked and not each.version.is_prerelease]
            if found:
                newest = max(each.version for each in found)
                return _fetched(name, [each for each in found if each.version == newest]), ""
        except Unavailable as error:
            return None, str(error)
        return None, f"the package index has no wheel of {name}"
    return None, ""


def _fetched(name: str, candidates: list[Wheel]) -> Sources:
    """The Python of a release: the same in every wheel of it."""
    wheel = max(candidates, key=lambda each: ("x86_64" in each.file, each.file))
    with package_index.extract(wheel, _is_wanted, data_files.cache_folder(_CACHE)) as packed:
        return _unpacked(packed, name, str(wheel.version))


def _is_wanted(path: str) -> bool:
    return path.endswith((".py", METADATA))


def _unpacked(packed: zipfile.ZipFile, name: str, version: str) -> Sources:
    names = [each for each in packed.namelist() if _is_wanted(each)]
    metadata = next((each for each in names if each.endswith(METADATA)), "")
    said = image_sources.metadata(packed.read(metadata) if metadata else b"")
    texts = {each: packed.read(each).decode(errors="replace") for each in names if each.endswith(".py")}
    requires = tuple(map(str, said.get_all("Requires-Dist") or ()))
    return Sources(name or str(said["Name"]), version or str(said["Version"] or ""), texts, requires)


def _of_wheel(path: Path) -> Given:
    try:
        with zipfile.ZipFile(path) as packed:
            found = _unpacked(packed, "", "")
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise UsageError(f"{path}: cannot be read as a wheel: {cause(error)}") from None
    engine = _engine_of(canonicalize_name(found.name))
    if canonicalize_name(found.name) in routers(engine):
        return Given(engine, None, found)
    return Given(engine, found, *_newest_router(engine))


def _of_image(reference: str) -> Given:
    modules = {_package(each) for engine in ENGINES.values() for each in (engine.module, engine.router_module) if each}
    try:
        found = image_store.files(reference, lambda path: image_sources.is_of(path, modules))
    except ContainerFailed as error:
        raise CannotJudge(f"{_IMAGE}{reference} cannot be looked at; is it pulled?", cause=str(error)) from error
    for engine in ENGINES.values():
        if engine.module and (
            sources := image_sources.package(found, _package(engine.module), own_distributions(engine))
        ):
            package = _package(engine.router_module) if engine.router_module else ""
            router = image_sources.package(found, package, routers(engine)) if package else None
            return Given(engine, sources, router, f"no {package} is installed there" if package and not router else "")
    raise UsageError(f"{_IMAGE}{reference}: holds no engine")


def _of_checkout(root: Path) -> Given:
    for engine in ENGINES.values():
        for folder in _FOLDERS:
            base = root / folder
            if engine.module and (base / _package(engine.module) / "__init__.py").is_file():
                found = Sources(engine.name, f"in {root.name}", _read(base, _package(engine.module)))
                return Given(engine, found, *_newest_router(engine))
    packages = ", ".join(sorted(_package(engine.module) for engine in ENGINES.values() if engine.module))
    raise UsageError(f"{root}: no checkout of an engine: there is no package {packages} in it")


def _read(base: Path, package: str) -> Mapping[str, str]:
    try:
        return {
            path.relative_to(base).as_posix(): path.read_text(encoding="utf-8", errors="replace")
            for path in sorted((base / package).rglob("*.py"))
            if path.is_file()
        }
    except OSError as error:
        raise UsageError(f"{base / package}: cannot be read: {error.strerror}") from None


def _of_interpreter(python: Path) -> Given:
    asked = [
        (_package(module), *names)
        for engine in ENGINES.values()
        for module, names in ((engine.module, own_distributions(engine)), (engine.router_module, routers(engine)))
        if module
    ]
    if not python.is_file() or not os.access(python, os.X_OK):
        raise UsageError(f"{python}: neither a wheel, a checkout nor an interpreter")
    try:
        status, output = processes.run([str(python), "-I", "-c", _PACKAGES, json.dumps(asked)])
        found = json.loads(output.strip().splitlines()[-1]) if status == 0 else None
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{python}: it did not say what it holds: {cause(error)}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{python}: it did not say what it holds: it ended with status {status}")
    for engine in ENGINES.values():
        if engine.module and _package(engine.module) in found:
            router = found.get(_package(engine.router_module)) if engine.router_module else None
            missing = (
                "" if router or not engine.router_module else f"no {_package(engine.router_module)} is installed there"
            )
            sources = _installed(engine.name, found[_package(engine.module)])
            return Given(engine, sources, _installed("router", router) if router else None, missing)
    raise UsageError(f"{python}: its environment holds no engine")


def _installed(name: str, told: Mapping[str, object]) -> Sources:
    folder = Path(str(told["folder"]))
    requires = told.get("requires")
    return Sources(
        str(told.get("name", name)),
        str(told.get("version", "")),
        _read(folder.parent, folder.name),
        tuple(map(str, requires)) if isinstance(requires, list) else (),
    )
