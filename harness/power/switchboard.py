"""The files of a run by which mutants are switched, and what servers say in them: see ``engine_mutants.switches``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine_mutants.switches import FOLDER
from harness.base.errors import CannotJudge
from harness.host import files

_SETTLED = 0.3
"""Seconds until every process has seen a switch: several times as long as each trusts its last look."""


@dataclass(frozen=True)
class Switchboard:
    """Of one run directory."""

    run: Path

    @property
    def _root(self) -> Path:
        return self.run / FOLDER

    def switch(self, *names: str) -> None:
        """Switch these mutants on and all others off, forget what was counted, and wait until it is in force."""
        shutil.rmtree(self._root / "hits", ignore_errors=True)
        self._root.mkdir(exist_ok=True)
        files.write(self._root / "active", "\n".join(names))
        time.sleep(_SETTLED)

    def hits(self, mutant: str) -> dict[str, int]:
        """How often the broken path of a mutant was taken, at least, by server."""
        found: dict[str, int] = {}
        for path in sorted((self._root / "hits").glob(f"{mutant}@*")):
            server = path.name.removeprefix(f"{mutant}@").rpartition(".")[0]
            found[server] = found.get(server, 0) + int(path.read_text() or 0)
        return found

    def misfit(self, mutant: str) -> str:
        """Why a mutant does not fit the engine; empty if nobody says so."""
        path = self._root / "misfits" / mutant
        return path.read_text() if path.is_file() else ""

    def require(self, servers: Iterable[str], mutants: Iterable[str]) -> None:
        """Raise unless every server has these mutants at hand.

        Raises:
            CannotJudge: One has not: nothing would be broken, and nothing found.
        """
        wanted = set(mutants)
        for server in servers:
            texts = [path.read_text().split() for path in (self._root / "loaded").glob(f"{server}.*")]
            if lacking := wanted - {name for names in texts for name in names}:
                some = ", ".join(sorted(lacking)[:3])
                raise CannotJudge(f"{server} has not loaded {some}", cause="the mutants' .pth was not read there")
