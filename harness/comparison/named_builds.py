"""How a person names a build of an engine: its interpreter, an image, a wheel, or what a command makes a build of."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import CannotJudge, UsageError
from harness.base.settings import cut
from harness.base.texts import one_line
from harness.containers import lifecycle
from harness.host import processes
from harness.logs.root_cause import tail
from harness.run.prepare import Options

_PLACE = "{}"


@dataclass(frozen=True)
class Build:
    """A build that can be run.

    Attributes:
        name: What the person calls it.
        spelling: What it is: a path or an image.
        options: How to run it.
        flags: Options of ``harness run`` that run it.
    """

    name: str
    spelling: str
    options: Options
    flags: tuple[str, ...]

    def command(self, case: str) -> str:
        """The command that runs a case on it once more."""
        return shlex.join(["harness", "run", case, *self.flags])


def without_build(options: Options) -> Options:
    """The same options, which name no build: whoever runs several names them elsewhere.

    Raises:
        UsageError: They name one.
    """
    given = {
        "--engine-python": options.engine_python,
        "--base-image": options.build.base_image,
        "--engine-wheel": options.build.engine_wheel,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option}: one build of several; name each where they are listed")
    return options


def require_place(found: Build) -> None:
    """Raise before anything is started if a build has nowhere to run.

    Raises:
        CannotJudge: It is for a container, and no container engine answers.
    """
    if found.options.runtime == "docker" and (why := lifecycle.unavailable()):
        raise CannotJudge(f"build {found.name} is an image or goes into one", cause=why)


def build(name: str, options: Options, spelling: str = "") -> Build:
    """The build that is meant.

    What begins like a path is the interpreter of an environment, its folder, or a wheel; anything else is an image.

    Args:
        name: What the person calls it.
        options: How everything is run, without a build.
        spelling: What it is, where the name does not say it.

    Raises:
        UsageError: There is no such program or wheel, or it does not go with ``--runtime``.
    """
    found = _spelt(name, options, spelling or name)
    if options.runtime not in ("auto", found.options.runtime):
        raise UsageError(f"--runtime {options.runtime}: {found.spelling} runs in {found.options.runtime}; leave it out")
    return found


def _spelt(name: str, options: Options, spelling: str) -> Build:
    if not spelling.startswith(("/", "./", "../", "~")) and not Path(spelling).is_file():
        if not spelling or spelling.startswith("-") or any(each.isspace() for each in spelling):
            raise UsageError(f"{cut(repr(spelling))}: no build; name an interpreter by its path, a wheel, or an image")
        of_image = replace(options.build, base_image=spelling)
        return Build(name, spelling, replace(options, runtime="docker", build=of_image), ("--base-image", spelling))
    path = Path(os.path.abspath(Path(spelling).expanduser()))  # noqa: PTH100 # a virtual environment's is a link
    if path.is_dir():
        path = path / "bin" / "python"
    if path.suffix == ".whl" and path.is_file():
        with_wheel = replace(options.build, engine_wheel=path)
        return Build(
            name, str(path), replace(options, runtime="docker", build=with_wheel), ("--engine-wheel", str(path))
        )
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise UsageError(f"{cut(spelling)}: no program there; name an interpreter, as in ~/vllm/bin/python, or a wheel")
    here = replace(options, runtime="local", engine_python=path)
    return Build(name, str(path), here, ("--engine-python", str(path)))


def made(name: str, command: str, options: Options, tick: Callable[[str], None]) -> Build:
    """The build that a command makes of a name, and says in the last line of its output.

    Args:
        name: Takes the place of every ``{}``.
        command: Split as a shell does it, and run without one.
        options: As of :func:`build`.
        tick: Told now and then what it does.

    Raises:
        CannotJudge: The command fails, or its last line is no build.
        UsageError: The command has no place for a name.
    """
    argv = maker(command, name)
    try:
        status, output = processes.run(argv, on_tick=tick)
    except OSError as error:
        raise CannotJudge(f"{argv[0]} cannot be run", cause=str(error)) from error
    lines = output.strip().splitlines()
    if status or not lines:
        cause = f"status {status}: {one_line(lines[-1]) if lines else 'it wrote nothing'}"
        raise CannotJudge(f"--make could not make {name}", cause=cause, details=tail(output, 40))
    try:
        return build(name, options, lines[-1].strip())
    except UsageError as error:
        raise CannotJudge(f"--make {name}: its last line must name the build", cause=str(error)) from None


def maker(command: str, name: str) -> list[str]:
    """A command with a name in its place.

    Raises:
        UsageError: It has no place for one, or cannot be split.
    """
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--make {cut(command)}: {error}; quote it as for a shell") from None
    if not any(_PLACE in each for each in argv):
        raise UsageError(f"--make {cut(command)}: no {_PLACE} in it; that is where the name of the build goes")
    return [each.replace(_PLACE, name) for each in argv]
