"""The harness's own share of a run, and how long its help takes.

    python benchmarks/overhead.py [ROUNDS]

Own share: wall time of the whole command minus engine start-up, requests in flight and engine stop, as recorded in
the run directory.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "harness"]


def seconds(*arguments: str) -> float:
    """Wall time of one command."""
    began = time.monotonic()
    subprocess.run([*COMMAND, *arguments], check=True, stdout=sys.stderr)
    return time.monotonic() - began


def own_share(case: str) -> tuple[float, float]:
    """Wall time of a run, and what of it is ours."""
    folder = Path(tempfile.mkdtemp(prefix="overhead-"))
    wall = seconds("run", case, "--runtime", "local", "--runs", f"{folder}/runs")
    timing = json.loads(next(folder.glob("runs/*/result.json")).read_text())["timing"]
    shutil.rmtree(folder)  # only now: the run directory of a run that failed stays
    return wall, wall - timing["start_up"] - timing["in_flight"] - timing["stop"]


def main() -> None:
    """Print a row a measurement."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print("| what | round | wall (s) | own share (s) |")
    print("| --- | --- | --- | --- |")
    for number in range(1, rounds + 1):
        print(f"| `python -m harness --help` | {number} | {seconds('--help'):.3f} | |", flush=True)
    for case in ("eagle3/known_answer", "disagg/known_answer_eagle3"):
        for number in range(1, rounds + 1):
            wall, own = own_share(case)
            print(f"| `{case}` | {number} | {wall:.1f} | {own:.2f} |", flush=True)


if __name__ == "__main__":
    main()
