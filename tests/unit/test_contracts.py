"""What the contracts on imports forbid is found: it is planted into a copy of the packages, and the linter names it."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from importlinter import api
from importlinter.application import use_cases
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import registry

from harness.engines import ENGINES
from harness.protocols import PROTOCOLS
from tests.helpers import REPOSITORY

PACKAGES = ("harness", "known_answer", "engine_mutants")
CONTRACTS: list[dict[str, Any]] = api.read_configuration(str(REPOSITORY / "pyproject.toml"))["contracts_options"]
BY_NAME = {each["name"]: each for each in CONTRACTS}
STAND = "rooms stand on one another"
KNOWN_ANSWER = "the known-answer models know nothing of the harness"
MUTANTS = "mutants know nothing of the harness"
PURE = "pure rooms reach no machine"
PROCESSES = "one module starts processes"
COMMANDS = "commands do not know each other"
APART = {
    "engines": "engines do not know each other",
    "protocols": "protocols do not know each other",
    "checks": "checks do not know each other",
}
ROOMS = sorted(each.parent.name for each in (REPOSITORY / "harness").glob("*/__init__.py"))
REACH_THE_MACHINE = {
    "host",
    "hosts",
    "devices",
    "containers",
    "images",
    "run",
    "doctor",
    "bundle",
    "power",
    "upkeep",
    "cli",
    "calibration",
    "comparison",
    "bisection",
}

Imports = set[tuple[str, str]]


class Copy:
    """A copy of the packages that a test may spoil."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in PACKAGES:
            shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "pyproject.toml", folder)
        self._texts: dict[Path, str | None] = {}

    def plant(self, module: str, imported: Iterable[str]) -> None:
        """Let a module import others; it is made where it is not there."""
        path = self.folder / f"{module.replace('.', '/')}.py"
        text = path.read_text() if path.exists() else ""
        self._texts.setdefault(path, text if path.exists() else None)
        path.write_text(text + "".join(f"\nimport {name}\n" for name in imported))

    def restore(self) -> None:
        for path, text in self._texts.items():
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        self._texts.clear()

    def broken(self) -> dict[str, Imports]:
        """Who uses whom against each contract that is broken."""
        for kind in (ForbiddenContract, IndependenceContract, LayersContract):
            registry.register(kind, kind.type_name)
        options = use_cases.read_user_options(str(self.folder / "pyproject.toml"))
        report = use_cases.create_report(options, cache_dir=str(self.folder / "cache"))
        assert report.kept_count + report.broken_count == len(CONTRACTS)
        return {
            contract.name: set(_against(check.metadata))
            for contract, check in report.get_contracts_and_checks()
            if not check.kept
        }


def _against(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for each in found.get("invalid_dependencies", ()):
        yield each["importer"], each["imported"]
    for each in found.get("invalid_chains", ()):
        yield each["downstream_module"], each["upstream_module"]
    for module in found.get("undeclared_modules", ()):
        yield module, ""


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def copy(once: Copy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copy]:
    """The copy as it was made; the linter finds it, and not what this process has imported."""
    for name in PACKAGES:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(once.folder)
    yield once
    once.restore()


def test_where_nothing_is_planted_nothing_is_broken(copy: Copy) -> None:
    assert copy.broken() == {}
    assert set(BY_NAME) == {STAND, KNOWN_ANSWER, MUTANTS, PURE, PROCESSES, COMMANDS, *APART.values()}


def test_no_room_uses_one_above_or_one_beside_it(copy: Copy) -> None:
    layers = [layer.split("|") for layer in BY_NAME[STAND]["layers"]]
    height = {name.strip(): -number for number, layer in enumerate(layers) for name in layer}
    forbidden = {(lower, upper) for lower, upper in permutations(ROOMS, 2) if height[lower] <= height[upper]}
    assert len(forbidden) > len(ROOMS) ** 2 / 2 - len(ROOMS)
    for room in ROOMS:
        copy.plant(f"harness.{room}.planted", [f"harness.{upper}.planted" for one, upper in forbidden if one == room])
    assert copy.broken()[STAND] == {(f"harness.{lower}", f"harness.{upper}") for lower, upper in forbidden}


def test_a_room_that_nobody_placed_is_found(copy: Copy) -> None:
    copy.plant("harness.planted", ["harness.base.errors"])
    assert copy.broken() == {STAND: {("harness.planted", "")}}


@pytest.mark.parametrize("imported", ["harness", "harness.base.errors"])
def test_the_known_answer_models_do_not_use_the_harness(copy: Copy, imported: str) -> None:
    copy.plant("known_answer.planted", [imported])
    assert copy.broken()[KNOWN_ANSWER] == {("known_answer", "harness")}


@pytest.mark.parametrize("imported", ["harness.base.errors", "known_answer.names"])
def test_mutants_use_nothing_of_ours(copy: Copy, imported: str) -> None:
    copy.plant("engine_mutants.planted", [imported])
    assert copy.broken()[MUTANTS] == {("engine_mutants", imported.partition(".")[0])}


def pure() -> tuple[list[str], list[str]]:
    return BY_NAME[PURE]["source_modules"], BY_NAME[PURE]["forbidden_modules"]


def test_every_room_is_pure_or_known_to_reach_the_machine() -> None:
    rooms, machine = pure()
    assert {each.removeprefix("harness.") for each in rooms} == {
        *ROOMS,
        "known_answer",
        "engine_mutants",
    } - REACH_THE_MACHINE
    assert {"subprocess", "socket", "docker", "requests", "aiohttp", "huggingface_hub"} < set(machine)
    assert {"psutil", "pynvml", "fcntl"} < set(machine)


def test_a_pure_room_imports_nothing_of_the_machine(copy: Copy) -> None:
    rooms, machine = pure()
    for room in rooms:
        copy.plant(f"{room}.planted", machine)
    broken = copy.broken()
    assert broken[PURE] == {(room, module) for room in rooms for module in machine}
    assert set(broken) == {PURE, PROCESSES}  # subprocess is one of them


def test_a_pure_room_reaches_nothing_of_the_machine_through_another_module(copy: Copy) -> None:
    rooms, machine = pure()
    copy.plant("harness.host.planted", machine)
    for room in rooms:
        copy.plant(f"{room}.between", ["harness.host.planted"])
        copy.plant(f"{room}.planted", [f"{room}.between"])
    assert copy.broken()[PURE] == {(room, module) for room in rooms for module in machine}


def test_no_other_module_starts_processes(copy: Copy) -> None:
    for room in ROOMS:
        copy.plant(f"harness.{room}.planted", ["subprocess"])
    copy.plant("harness.program", ["subprocess"])
    expected = {(f"harness.{name}", "subprocess") for name in (*ROOMS, "program")}
    assert copy.broken()[PROCESSES] == expected


def test_who_may_start_processes_does(copy: Copy) -> None:
    """An exception that nobody needs is an error of the linter; these three are needed."""
    ignored = {line.partition(" -> ")[0] for line in BY_NAME[PROCESSES]["ignore_imports"]}
    assert ignored == {"harness.host.processes", "harness.bundle.standalone", "harness.run.probes.surroundings"}


def alone(room: str) -> list[str]:
    """The modules of a room that others of it may not use."""
    shared = {line.partition(" -> ")[2] for line in BY_NAME[APART[room]]["ignore_imports"]}
    found = {f"harness.{room}.{path.stem}" for path in (REPOSITORY / "harness" / room).glob("[!_]*.py")}
    assert {name for name in shared if not name.endswith(".*")} < found
    return sorted(found - shared)


@pytest.mark.parametrize("room", APART)
def test_no_module_uses_another_of_its_kind(copy: Copy, room: str) -> None:
    """Nor does a new one, or one that others share."""
    assert BY_NAME[APART[room]]["modules"] == [f"harness.{room}.*"]
    modules = [*alone(room), f"harness.{room}.planted"]
    assert len(modules) > 2
    for module in modules:
        copy.plant(module, [other for other in modules if other != module])
    assert copy.broken() == {APART[room]: set(permutations(modules, 2))}


def test_no_module_of_commands_uses_another(copy: Copy) -> None:
    modules = BY_NAME[COMMANDS]["modules"]
    folder = REPOSITORY / "harness" / "cli"
    assert modules == sorted(f"harness.cli.{path.stem}" for path in folder.glob("*_commands.py"))
    for module in modules:
        copy.plant(module, [other for other in modules if other != module])
    assert copy.broken() == {COMMANDS: set(permutations(modules, 2))}


@pytest.mark.parametrize(
    ("shared", "used"),
    [
        ("harness.engines.counting", "harness.engines.vllm"),
        ("harness.protocols.latex_numbers", "harness.protocols.gsm8k_vllm"),
        ("harness.checks.check", "harness.checks.parity"),
    ],
)
def test_what_modules_share_uses_none_of_them(copy: Copy, shared: str, used: str) -> None:
    copy.plant(shared, [used])
    assert (shared, used) in copy.broken()[APART[shared.split(".")[1]]]


def test_no_engine_and_no_protocol_is_taken_for_what_others_share() -> None:
    stems = {room: {module.rpartition(".")[2] for module in alone(room)} for room in APART}
    assert set(ENGINES) <= stems["engines"]
    assert stems["protocols"] == set(PROTOCOLS)


def modules() -> dict[str, Path]:
    return {
        str(path.relative_to(REPOSITORY).with_suffix("")): path
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*.py")
    }


def test_no_two_modules_have_one_name() -> None:
    counted = Counter(path.stem for path in modules().values() if path.stem not in ("__init__", "__main__"))
    assert {name: count for name, count in counted.items() if count > 1} == {}


def test_no_room_has_the_name_of_a_module() -> None:
    folders = {path.parent.name for path in modules().values() if path.name == "__init__.py"}
    assert folders & {path.stem for path in modules().values()} == set()


def test_no_module_is_long() -> None:
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_coverage_is_asked_of_the_rooms_that_the_contract_calls_pure() -> None:
    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]
    pure = {each.replace(".", "/") for each in BY_NAME[PURE]["source_modules"]}
    assert set(tools["coverage"]["run"]["source"]) == pure - {"known_answer", "engine_mutants"}
