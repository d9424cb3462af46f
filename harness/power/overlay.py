"""An environment over the user's: the same interpreter and the same packages, and in front of them the mutants.

Nothing is copied but our own package, and nothing in the user's environment is written to.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

import engine_mutants
from engine_mutants.loading import WANTED
from harness.base import programs
from harness.base.errors import CannotJudge, UsageError
from harness.host import files
from harness.host.data_files import cache_folder
from harness.logs.root_cause import tail
from harness.power.probes import interpreter
from harness.run import ask_engine

_PROGRAM = programs.text(interpreter)
_LIMIT = 60.0
"""Seconds for an interpreter to say what it is."""
_PLACES = 16
"""Runs that may break one environment at the same time, each on devices of its own."""
_LOADER = "zz_engine_mutants.pth"  # after those of the user's packages, which may put them on the path
_OF_INTERPRETERS = re.compile(r"python|activate|Activate|pip|__pycache__")


class _Interpreter(BaseModel):
    base: Path
    version: str
    scripts: Path
    folders: list[Path]


@dataclass(frozen=True)
class Overlay:
    """The environment.

    Attributes:
        root: Its folder.
    """

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    def want(self, how: Literal["switched", "static"], mutants: Iterable[str]) -> None:
        """Let processes that are started from now on load these mutants: to be switched, or in force from the start."""
        files.write(self.root / WANTED, json.dumps({how: sorted(mutants)}))

    def want_nothing(self) -> None:
        """Let processes that are started from now on run the engine as it is."""
        (self.root / WANTED).unlink(missing_ok=True)


@contextmanager
def over(python: Path) -> Iterator[Overlay]:
    """An overlay of the environment whose interpreter is ``python``; nobody else uses it as long as the block lasts.

    It lies where it always lies for this environment, because what an engine was asked is kept by path. A run
    beside it, on other devices, gets the next place.

    Raises:
        UsageError: ``python`` is a script, whose settings would be lost, or other runs have every place.
        CannotJudge: The interpreter does not run.
    """
    python = Path(os.path.abspath(python))  # noqa: PTH100 # not resolved: a virtual environment's is a link
    found = _asked(python)
    with _place(cache_folder("mutants") / files.digest_text(str(python))[:16]) as root:
        _make(root, found)
        made = Overlay(root)
        try:
            yield made
        finally:
            made.want_nothing()


@contextmanager
def _place(first: Path) -> Iterator[Path]:
    """The first place that no other run has, kept by a lock that ends with this process."""
    first.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, _PLACES + 1):
        root = first if number == 1 else first.with_name(f"{first.name}-{number}")
        with root.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield root
            return
    raise UsageError(f"{first.parent}: {_PLACES} other runs break this engine; wait for the end of one")


def _asked(python: Path) -> _Interpreter:
    """What an interpreter says of itself."""
    with python.open("rb") as file:
        if file.read(2) == b"#!":
            raise UsageError(
                f"--engine-python {python}: a script; name the interpreter itself, so that none is left out"
            )
    status, output = ask_engine.here(_LIMIT)([str(python), "-c", _PROGRAM])
    try:
        return _Interpreter.model_validate_json(output.splitlines()[-1] if status == 0 and output else "")
    except ValidationError:
        raise CannotJudge(f"{python} does not run Python", cause=tail(output, 1)) from None


def _make(root: Path, found: _Interpreter) -> None:
    """Make the folder anew, which takes no time."""
    shutil.rmtree(root, ignore_errors=True)
    packages = root / "lib" / f"python{found.version}" / "site-packages"
    packages.mkdir(parents=True)
    (root / "bin").mkdir()
    for name in ("python", "python3"):
        (root / "bin" / name).symlink_to(found.base)
    (root / "pyvenv.cfg").write_text(
        f"home = {found.base.parent}\ninclude-system-site-packages = false\nversion = {found.version}\n"
    )
    own = Path(engine_mutants.__file__).parent
    shutil.copytree(own, packages / own.name, ignore=shutil.ignore_patterns("__pycache__"))
    lines = [f"import site; site.addsitedir({str(each)!r})" for each in found.folders]
    begin = "loading.begin(pathlib.Path(sys.prefix), pathlib.Path.cwd())"
    (packages / _LOADER).write_text(
        "\n".join([*lines, f"import pathlib, sys; from engine_mutants import loading; {begin}"]) + "\n"
    )
    for path in sorted(found.scripts.iterdir()):
        if not _OF_INTERPRETERS.match(path.name) and path.is_file():
            _script(path, root / "bin" / path.name, found)


def _script(path: Path, target: Path, found: _Interpreter) -> None:
    """A program of the environment: a script of its interpreter becomes one of ours, anything else a link."""
    with path.open("rb") as file:
        head = file.readline(1000)
        rest = file.read() if head.startswith(b"#!") else b""
    if head.startswith(b"#!" + os.fsencode(found.scripts) + b"/python"):
        target.write_bytes(b"#!" + os.fsencode(target.parent) + b"/python\n" + rest)
        target.chmod(0o755)
    else:
        target.symlink_to(path)
