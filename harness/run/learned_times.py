"""What was learned of points, kept beside the other caches, and what a run directory adds to it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from harness.base.domain import Platform
from harness.base.errors import HarnessError, NothingSelected, UsageError
from harness.devices import accelerators
from harness.fleet.learned import Learned, from_results, kind_of
from harness.host import files, machine
from harness.host.data_files import cache_folder
from harness.reports.result import Result
from harness.run import documents, footprints
from harness.run.rundir import RunDir

NEXT = "`harness learn RUNS --to FILE` writes one"


def kept() -> Path:
    """The file of this user, on this machine."""
    return cache_folder("learned") / "times.json"


def read(path: Path) -> Learned:
    """What a file holds; nothing if there is none.

    Raises:
        UsageError: It is not what this version of the harness writes.
    """
    return documents.read(path, Learned, NEXT) or Learned()


def existing(path: Path) -> Learned:
    """What a file holds that somebody named.

    Raises:
        UsageError: There is none, or it is not what this version of the harness writes.
    """
    found = documents.read(path, Learned, NEXT)
    if found is None:
        raise UsageError(f"{path}: not there; {NEXT}")
    return found


def known() -> Learned:
    """What this machine knows. A damaged file is none: it is made anew, and only time is lost."""
    with suppress(HarnessError):
        return read(kept())
    return Learned()


def note(runs: Iterable[Path], path: Path | None = None) -> int:
    """Add what run directories say to a file.

    Args:
        runs: Of finished points; what has no verdict, or none that can be read, is passed over.
        path: The file; None for this machine's own.

    Returns:
        How many of them said something new.

    Raises:
        UsageError: The file is not what this version of the harness writes.
        OSError: It cannot be written.
    """
    own = path is None
    path = path or kept()
    path.parent.mkdir(parents=True, exist_ok=True)
    found = list(_results(runs))
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # for the moment that it takes
        before = known() if own else read(path)
        after = from_results(found, before)
        if after != before:
            files.write(path, after.model_dump_json(indent=2) + "\n")
    return sum(from_results([each], Learned()) != Learned() for each in found)


def note_ended(run: Path) -> None:
    """Add what the run directory of a point that has just ended says to this machine's own file, if that can be."""
    with suppress(HarnessError, OSError):
        note([run])


def kind_here(platform: Platform) -> str:
    """What runs points here, in the words in which runs on it are learned from."""
    facts = machine.facts() | accelerators.hardware(platform)
    return kind_of(platform, {f"host.{name}": value for name, value in facts.items()})


def below(runs: Path) -> list[Path]:
    """The folders of all verdicts below ``runs``.

    Raises:
        NothingSelected: There is none.
    """
    found = sorted(path.parent for path in runs.glob("**/result.json"))
    if not found:
        raise NothingSelected(f"{runs}: no verdict there; name the --runs folder of a `harness run`")
    return found


def _results(runs: Iterable[Path]) -> Iterator[tuple[Result, int]]:
    for path in runs:
        with suppress(HarnessError):
            result = RunDir(path).read("result", Result)
            if result is not None:
                yield result, _memory(RunDir(path))


def _memory(rundir: RunDir) -> int:
    """Bytes of the host that all servers together held at most; 0 where nobody looked."""
    with suppress(HarnessError):
        seen = rundir.read(footprints.NAME, footprints.Footprints)
        if seen is not None:
            looks = zip(*seen.servers.values(), strict=False)
            return max((sum(each.memory_bytes for each in look) for look in looks), default=0)
    return 0
