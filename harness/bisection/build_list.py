"""The ordered builds that are searched."""

from __future__ import annotations

from pathlib import Path

from harness.base.errors import UsageError
from harness.base.settings import cut

_LARGEST = 1 << 20
_MOST = 10_000


def build_list(good: str, bad: str, file: Path | None, make: str) -> tuple[str, ...]:
    """Builds from the good one to the bad one.

    Args:
        good: First of them.
        bad: Last of them.
        file: One a line, in order; empty lines and what follows ``#`` do not count. None: the two are numbers, and a
            command makes a build of each number from one to the other.
        make: That command.

    Raises:
        UsageError: One of the two is not among them, or they are in the wrong order.
    """
    if file is None:
        if not (make and good.isdecimal() and bad.isdecimal()):
            raise UsageError(
                "--builds: missing; a file with one build a line, or numbers for --good and --bad with --make"
            )
        if not 0 < int(bad) - int(good) < _MOST:
            raise UsageError(f"--bad {cut(bad)}: must be a number after {cut(good)}, and fewer than {_MOST} builds on")
        return tuple(map(str, range(int(good), int(bad) + 1)))
    try:
        if file.stat().st_size > _LARGEST:
            raise UsageError(f"--builds {file}: too large for a list of builds")
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--builds {file}: cannot be read: {error}") from None
    names = [name for line in lines if (name := line.partition("#")[0].strip())]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"--builds {file}: {cut(twice)} is there twice; each build has one place")
    for option, name in (("--good", good), ("--bad", bad)):
        if name not in names:
            raise UsageError(f"{option} {cut(name)}: not in {file}; write it as its line has it")
    first, last = names.index(good), names.index(bad)
    if first >= last:
        raise UsageError(f"--bad {cut(bad)}: comes before {cut(good)} in {file}; the good one is first")
    return tuple(names[first : last + 1])
