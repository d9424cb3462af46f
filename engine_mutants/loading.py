"""Put in place by a ``.pth`` file of the engine's environment: modules are broken when they are imported.

``mutants.json`` in the root of the environment says what is wanted: ``{"switched": [names]}`` or ``{"static":
[names]}``. Without it, nothing is. Nothing that goes wrong here may pass for an engine that was not found broken: what
does not fit is on record, and whoever evaluates looks whether every server has loaded what was wanted.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Mutant, Patch
from engine_mutants.switches import Switches

WANTED = "mutants.json"
"""In the root of the environment."""


class Breaking(MetaPathFinder):
    """Finds nothing by itself: lets others find a module, and breaks it once it was executed.

    Args:
        patches: What is done to each module, by its name.
    """

    def __init__(self, patches: dict[str, list[tuple[Fault, Patch]]]) -> None:
        self._patches = patches
        self._asking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module as others find it, to be broken; None where it is none of ours."""
        del path, target
        if fullname not in self._patches or fullname in self._asking:
            return None
        self._asking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking.discard(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Broken(spec.loader, self._patches[fullname])
        return spec


class _Broken(Loader):
    """A loader that patches what another has loaded."""

    def __init__(self, loader: Loader, patches: list[tuple[Fault, Patch]]) -> None:
        self._loader, self._patches = loader, patches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for fault, patch in self._patches:
            _apply(module, fault, patch)


def _apply(module: ModuleType, fault: Fault, patch: Patch) -> None:
    try:
        patch(module, fault)
    except Exception as error:  # noqa: BLE001 # whatever is gone in this version, the engine runs unbroken
        fault.misfit(error)


def put_in_place(
    mutants: Iterable[Mutant],
    switches: Switches,
    always: Iterable[tuple[str, Callable[[Any, Switches], None]]] = (),
) -> Breaking:
    """Break modules that are imported from now on, and say so to whoever evaluates.

    Args:
        mutants: To be at hand.
        switches: Of the run.
        always: What is done to modules whatever is switched on.
    """
    chosen = list(mutants)
    patches: dict[str, list[tuple[Fault, Patch]]] = {}
    for module, change in always:
        patches.setdefault(module, []).append((Fault("always", switches), _unconditional(change, switches)))
    for each in chosen:
        for module, patch in each.patches:
            patches.setdefault(module, []).append((Fault(each.name, switches), patch))
    finder = Breaking(patches)
    sys.meta_path.insert(0, finder)
    switches.loaded(each.name for each in chosen)
    return finder


def _unconditional(change: Callable[[Any, Switches], None], switches: Switches) -> Patch:
    return lambda module, _fault: change(module, switches)


_begun: set[Path] = set()
"""Environments that this process has begun with: the ``site`` module of CPython reads the ``.pth`` files of a virtual
environment twice, and what is broken twice may be whole again."""


def begin(root: Path, folder: Path) -> None:
    """Do what the environment at ``root`` wants, in a process that works in ``folder``; once, however often called."""
    path = root / WANTED
    if root in _begun or not path.is_file():
        return
    _begun.add(root)
    from engine_mutants import between, every_mutant  # noqa: PLC0415 # every Python of the environment comes by here

    wanted = json.loads(path.read_text(encoding="utf-8"))
    names = set(wanted.get("switched") or wanted.get("static") or ())
    mutants = [each for each in every_mutant.ALL if each.name in names]
    if "static" in wanted:
        put_in_place(mutants, Switches(folder, names))
    else:
        put_in_place(mutants, Switches(folder), between.ALWAYS)
