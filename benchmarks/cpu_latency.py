"""What the executor of vLLM's CPU platform costs two servers on a few cores.

    python benchmarks/cpu_latency.py [ROUNDS]

Runs disagg/known_answer_eagle3 with the in-process executor (the default here) and with the multi-process one, and
prints start-up and seconds in flight of the 24 disaggregated requests and of the two controls.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = Path("baselines")


def run(folder: Path, multiprocessing: str) -> tuple[float, float, float]:
    """Seconds until ready, in flight for the main run, and in flight for the controls."""
    target = folder / "cases" / "disagg"
    target.mkdir(parents=True)
    for name in ("known_answer_eagle3.toml", "_suite.toml"):
        shutil.copy(CASES / "disagg" / name, target)
    defaults = (CASES / "_defaults.toml").read_text()
    defaults = re.sub(r'(VLLM_ENABLE_V1_MULTIPROCESSING = )"\d"', rf'\1"{multiprocessing}"', defaults)
    (folder / "cases" / "_defaults.toml").write_text(defaults)
    arguments = ["run", "--runtime", "local", "--cases", str(folder / "cases"), "--runs", str(folder / "runs")]
    subprocess.run([sys.executable, "-m", "harness", *arguments], check=True, stdout=sys.stderr)
    rundir = next((folder / "runs").glob("*/result.json")).parent
    timing = json.loads((rundir / "result.json").read_text())["timing"]
    samples = [json.loads(line) for line in (rundir / "samples.jsonl").read_text().splitlines()]
    main = [sample for sample in samples if sample["run"] == "main"]
    in_main = max(sample["started"] + sample["seconds"] for sample in main) - min(sample["started"] for sample in main)
    return timing["start_up"], in_main, timing["in_flight"] - in_main


def main() -> None:
    """Alternate between the two, so that a drift of the machine hits both."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print("| executor | round | ready after (s) | 24 requests over NIXL (s) | 48 control requests (s) |")
    print("| --- | --- | --- | --- | --- |")
    for number in range(1, rounds + 1):
        for name, value in (("in-process", "0"), ("multi-process", "1")):
            folder = Path(tempfile.mkdtemp(prefix="cpu-latency-"))
            seconds = run(folder, value)
            shutil.rmtree(folder)  # only now: the run directory of a run that failed stays
            print(f"| {name} | {number} | " + " | ".join(f"{each:.1f}" for each in seconds) + " |", flush=True)


if __name__ == "__main__":
    main()
