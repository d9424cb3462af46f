"""What the canary has imported: asked once a build, together with its flags where nobody has asked it yet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.base import programs
from harness.base.domain import Platform
from harness.devices import accelerators
from harness.engines import ENGINES
from harness.host import answer_cache, files
from harness.host.data_files import cache_folder
from harness.run import canary_checks
from harness.run.ask_engine import Build
from harness.run.ask_together import Beside
from harness.run.canary_checks import Imports
from harness.run.context import Context
from harness.run.probes import imports as imports_probe

_IMPORTS = TypeAdapter(Imports)
_PROGRAM = programs.text(imports_probe)


@dataclass(frozen=True)
class Question:
    """What is to be imported, and where the answer is kept.

    Attributes:
        argv: Prints it.
        path: Of the answer.
    """

    argv: Sequence[str]
    path: Path

    @property
    def kept(self) -> Imports | None:
        """The answer of an earlier time; None if there is none."""
        return answer_cache.read(self.path, _IMPORTS)

    def keep(self, output: str) -> Imports | None:
        """The answer in what was printed; None if there is none. A failure is not kept.

        What it lacks may be no part of what the answer is kept by.
        """
        try:
            found = _IMPORTS.validate_json(programs.answer(output))
        except ValidationError:
            return None
        if not any((*found.modules.values(), *found.transports.values(), *found.absent)):
            with suppress(OSError):  # the check of the caches says so
                answer_cache.keep(self.path, _IMPORTS, found)
        return found


def question(
    python: str,
    platform: Platform,
    where: str,
    build: Build,
    *,
    modules: Sequence[str],
    transports: Sequence[tuple[str, str]],
    libraries: Sequence[str],
) -> Question:
    """What to ask.

    Args:
        python: The engine's interpreter, as it is called.
        platform: Of the case.
        where: What stands for the build's place in the key of its kept answer: image or interpreter.
        build: The build.
        modules, transports: Imported and loaded.
        libraries: Looked for.
    """
    torch = canary_checks.torch_versions() if accelerators.of(platform).has_devices else []
    asked = {"modules": modules, "transports": transports, "torch": torch, "libraries": sorted(set(libraries))}
    key = files.digest_text(_PROGRAM, json.dumps(asked), where, build.state)
    return Question((python, "-c", _PROGRAM, json.dumps(asked)), cache_folder("canary") / f"{key}.json")


def beside(context: Context, build: Build) -> Beside | None:
    """What the canary will ask of a run's engine, to be asked together with its flags; None if that is known.

    Whether the command that users type starts a server is not known by then: if it is there, that is assumed.
    """
    case, runtime, engine = context.case, context.runtime, ENGINES[context.case.engine.name]
    router = case.topology.kind == "disagg"
    found = question(
        runtime.engine_python,
        context.prepared.platform,
        runtime.environment if runtime.container else runtime.engine_python,
        build,
        modules=canary_checks.modules(engine, command=bool(build.starts.command), router=router),
        transports=canary_checks.transports(case),
        libraries=list(engine.needed(case).values()),
    )
    return Beside(found.argv, found.keep) if found.kept is None else None
