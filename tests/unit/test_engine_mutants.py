"""Mutants in the process of an engine: found at import, switched by a file, counted, and honest about what is gone."""

from __future__ import annotations

import ast
import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import engine_mutants
from engine_mutants import between, loading, switches
from engine_mutants.every_mutant import ALL, BY_NAME
from engine_mutants.fault import Fault, Intended
from engine_mutants.mutant import Mutant, Patch
from engine_mutants.switches import Switches

SOURCE = """
class Sampler:
    scale = 2

    def sample(self, logits):
        return max(logits) * self.scale

    @staticmethod
    def shape(logits):
        return len(logits)


def decode(tokens):
    return " ".join(tokens)
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module that nobody has imported yet; what was hooked into importing is taken out again."""
    (tmp_path / "pretended_engine.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    hooks = list(sys.meta_path)
    yield "pretended_engine"
    sys.meta_path[:] = hooks
    sys.modules.pop("pretended_engine", None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a server of a run works; every look at the switch counts."""
    monkeypatch.setattr(switches, "_LOOK_EVERY", 0.0)
    path = tmp_path / "run" / "cwd" / "decode"
    path.mkdir(parents=True)
    return path


def switch(folder: Path, *names: str) -> None:
    root = folder.parent.parent / switches.FOLDER
    root.mkdir(exist_ok=True)
    (root / "active").write_text("\n".join(names))


def told(folder: Path, what: str) -> dict[str, str]:
    """Texts of a folder of the switch, by name without the pid."""
    root = folder.parent.parent / switches.FOLDER / what
    return {path.name.rpartition(".")[0] or path.name: path.read_text() for path in root.glob("*")}


def mutant(name: str, patch: Patch, module: str = "pretended_engine") -> Mutant:
    return Mutant(name, "kind", ("a/b#1",), "breaks", ("case",), ("check",), ((module, patch),))


def doubled(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, logits: Any) -> Any:
        fault.hit()
        return original(self, logits) * 10

    fault.replace(found.Sampler, "sample", broken)


def loaded(target: str, folder: Path, *mutants: Mutant, static: set[str] | None = None) -> ModuleType:
    loading.put_in_place(mutants, Switches(folder, static))
    return importlib.import_module(target)


def test_a_module_is_broken_when_it_is_imported_and_only_while_the_mutant_is_on(target: str, folder: Path) -> None:
    found = loaded(target, folder, mutant("doubled", doubled))
    sampler = found.Sampler()
    assert sampler.sample([1, 3]) == 6
    switch(folder, "doubled", "another")
    assert [sampler.sample([1, 3]) for _ in range(5)] == [60] * 5
    switch(folder)
    assert sampler.sample([1, 3]) == 6
    assert told(folder, "loaded") == {"decode": "doubled"}
    # Of five the fourth was the last whose count was written.
    assert told(folder, "hits") == {"doubled@decode": "4"}
    assert told(folder, "misfits") == {}


def test_several_mutants_of_one_function_are_told_apart(target: str, folder: Path) -> None:
    def least(found: Any, fault: Fault) -> None:
        fault.replace(found.Sampler, "sample", lambda _original, _self, logits: (fault.hit(), min(logits))[1])

    found = loaded(target, folder, mutant("doubled", doubled), mutant("least", least))
    switch(folder, "least")
    assert found.Sampler().sample([1, 3]) == 1
    switch(folder, "doubled")
    assert found.Sampler().sample([1, 3]) == 60
    assert told(folder, "hits") == {"doubled@decode": "1", "least@decode": "1"}


def test_a_static_mutant_is_always_on(target: str, folder: Path) -> None:
    found = loaded(target, folder, mutant("doubled", doubled), static={"doubled"})
    assert found.Sampler().sample([1, 3]) == 60


def test_functions_and_static_methods_stay_what_they_are(target: str, folder: Path) -> None:
    def patch(found: Any, fault: Fault) -> None:
        fault.replace(found.Sampler, "shape", lambda original, logits: original(logits) + 1)
        fault.replace(found, "decode", lambda original, tokens: original(tokens[1:]))

    found = loaded(target, folder, mutant("both", patch), static={"both"})
    assert (found.Sampler.shape([1, 2]), found.Sampler().shape([1, 2])) == (3, 3)
    assert found.decode(["a", "b"]) == "b"


def test_a_target_that_is_gone_is_on_record_and_breaks_nothing(target: str, folder: Path) -> None:
    def patch(found: Any, fault: Fault) -> None:
        fault.replace(found.Sampler, "sample_all", lambda original, *arguments: original(*arguments))

    found = loaded(target, folder, mutant("gone", patch))
    assert found.Sampler().sample([2]) == 4
    assert "sample_all" in told(folder, "misfits")["gone"]


@pytest.mark.parametrize("error", [AttributeError, TypeError])
def test_an_error_of_the_patch_itself_is_a_misfit(target: str, folder: Path, error: type[Exception]) -> None:
    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any) -> Any:  # takes no logits
            return original(self)

        def absent(_original: Any, self: Any, _logits: Any) -> Any:
            raise AttributeError("as if something were not there any more")

        fault.replace(found.Sampler, "sample", absent if error is AttributeError else broken)

    # Only code below engine_mutants counts as the patch's own: here that is what calls it.
    found = loaded(target, folder, mutant("misfit", patch), static={"misfit"})
    with pytest.raises(error):
        found.Sampler().sample([1])
    assert bool(told(folder, "misfits")) is (error is TypeError)


def test_an_error_that_is_the_fault_is_no_misfit(target: str, folder: Path) -> None:
    def patch(found: Any, fault: Fault) -> None:
        def broken(_original: Any, _self: Any, _logits: Any) -> Any:
            fault.hit()
            raise Intended("it dies")

        fault.replace(found.Sampler, "sample", broken)

    found = loaded(target, folder, mutant("dies", patch), static={"dies"})
    with pytest.raises(Intended):
        found.Sampler().sample([1])
    assert told(folder, "misfits") == {}
    assert told(folder, "hits") == {"dies@decode": "1"}


def test_a_process_that_belongs_to_no_run_writes_nothing(target: str, tmp_path: Path) -> None:
    found = loaded(target, tmp_path / "elsewhere", mutant("doubled", doubled), static={"doubled"})
    assert found.Sampler().sample([1, 3]) == 60
    assert not (tmp_path / switches.FOLDER).exists()


def test_every_nth_turn(folder: Path) -> None:
    fault = Fault("some", Switches(folder, {"some"}))
    assert [fault.every(3) for _ in range(7)] == [False, False, True, False, False, True, False]


def test_a_thread_that_asks_while_another_one_looks_gets_no_old_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, said = Switches(folder), list[frozenset[str]]()
    switch(folder, "old")
    assert found.active() == {"old"}
    switch(folder, "new")
    time.sleep(0.06)  # longer than an answer counts
    read = switches._text

    def slow(path: Path) -> str:
        monkeypatch.setattr(switches, "_text", read)
        said.append(found.active())
        return read(path)

    monkeypatch.setattr(switches, "_text", slow)
    assert found.active() == {"new"}
    assert said == [{"new"}]


def test_an_environment_without_a_wish_is_left_alone(tmp_path: Path) -> None:
    hooks = list(sys.meta_path)
    loading.begin(tmp_path, tmp_path)
    assert sys.meta_path == hooks


def test_an_environment_loads_what_is_wanted_of_it(tmp_path: Path, folder: Path) -> None:
    hooks = list(sys.meta_path)
    (tmp_path / loading.WANTED).write_text(json.dumps({"switched": ["sometimes_500", "step_dies"]}))
    try:
        for _ in range(2):
            loading.begin(tmp_path, folder)
        assert len(sys.meta_path) == len(hooks) + 1
    finally:
        sys.meta_path[:] = hooks
    assert set(told(folder, "loaded")["decode"].split()) == {"sometimes_500", "step_dies"}


def test_prefixes_are_forgotten_once_after_each_switch_and_not_while_anything_runs(folder: Path) -> None:
    class Manager:
        resets = 0

        def reset_prefix_cache(self) -> bool:
            self.resets += 1
            return self.resets > 1  # at first, blocks wait to be fetched

    class Scheduler:
        def __init__(self) -> None:
            self.running: list[str] = []
            self.kv_cache_manager = Manager()

        def schedule(self) -> str:
            return "scheduled"

    module = ModuleType("scheduler")
    module.__dict__["Scheduler"] = Scheduler
    (_, forget) = between.ALWAYS[0]
    forget(module, Switches(folder))
    scheduler = Scheduler()

    def resets() -> int:
        assert scheduler.schedule() == "scheduled"
        return scheduler.kv_cache_manager.resets

    assert resets() == 0
    switch(folder, "one")
    scheduler.running.append("request")
    assert resets() == 0
    scheduler.running.clear()
    assert [resets(), resets(), resets()] == [1, 2, 2]


def test_what_is_loaded_into_an_engine_needs_nothing_but_python() -> None:
    folder = Path(engine_mutants.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names}
            assert roots <= {*sys.stdlib_module_names, "engine_mutants"}, path.name


def test_there_are_mutants_of_every_part() -> None:
    assert len(BY_NAME) == len(ALL) >= 60
    assert {each.kind for each in ALL} >= {
        "proposer", "rejection sampler", "sampler", "scheduler", "chunked prefill", "prefix cache", "block tables",
        "KV connector", "MultiConnector", "hybrid state", "sliding window", "experts", "tensor parallel", "CUDA graphs",
        "tokenizer and template", "API", "metrics", "leak", "process",
    }  # fmt: skip


class Recorder:
    """Stands for a module of an engine: it has whatever is asked for."""

    def __getattr__(self, name: str) -> Recorder:
        return Recorder()


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_mutant_replaces_something(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[str] = []
    monkeypatch.setattr(Fault, "replace", lambda self, owner, attribute, broken: replaced.append(attribute))
    for _, patch in BY_NAME[name].patches:
        patch(Recorder(), Fault(name, Switches(folder, {name})))
    assert replaced
