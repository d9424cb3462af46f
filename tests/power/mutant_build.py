"""Run a command with a build in which one mutant is in force from the start: ``{}`` in it becomes its interpreter.

    python -m tests.power.mutant_build --engine-python PATH --mutant NAME -- \\
        harness compare --engine PATH --engine {} CASE

The build is an environment over the one that is named, which nothing is written to; it is gone when the command ends.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from harness.host import signals
from harness.power.overlay import over


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine-python", type=Path, required=True)
    parser.add_argument("--mutant", required=True)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    with signals.handled(), over(given.engine_python) as overlay:
        overlay.want("static", [given.mutant])
        argv = [each.replace("{}", str(overlay.python)) for each in given.command]
        return subprocess.run(argv, check=False).returncode  # the command hears of a signal itself: it is in our group


if __name__ == "__main__":
    sys.exit(main())
