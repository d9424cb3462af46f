"""How long requests, and processes that only sleep, wait beside two engines on a few cores.

    python benchmarks/request_latency.py [SECONDS] [BUSY]

Serves disagg/known_answer_eagle3, sends short requests to prefill and to decode, two at a time each, while BUSY other
processes compute, and prints quantiles of the latencies and of how late a sleeping process wakes up.
"""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import requests

BODY = {"model": "model", "prompt": "Question: K61 ?\nAnswer:", "max_tokens": 32, "temperature": 0, "ignore_eos": True}


def harness(*arguments: str) -> None:
    """One command of the harness."""
    subprocess.run([sys.executable, "-m", "harness", *arguments], check=True, stdout=sys.stderr)


def repeat(what: Callable[[], float], end: float, seconds: list[float]) -> None:
    """Collect what each repetition took until ``end``."""
    while time.monotonic() < end:
        seconds.append(what())


def request(url: str) -> float:
    """Seconds of one completion of 32 tokens."""
    began = time.monotonic()
    requests.post(f"{url}/v1/completions", json=BODY, timeout=300).raise_for_status()
    return time.monotonic() - began


def late() -> float:
    """Seconds by which a sleep of 10 ms was too long."""
    began = time.monotonic()
    time.sleep(0.01)
    return time.monotonic() - began - 0.01


def compute() -> None:
    """Keep a core busy."""
    while True:
        pass


def measure(urls: dict[str, str], seconds: float) -> dict[str, list[float]]:
    """Latencies by what was measured."""
    end = time.monotonic() + seconds
    found: dict[str, list[float]] = {name: [] for name in (*urls, "wake-up")}
    work = [(name, lambda url=url: request(url)) for name, url in urls.items() for _ in range(2)]
    threads = [
        threading.Thread(target=repeat, args=(what, end, found[name])) for name, what in [*work, ("wake-up", late)]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def main() -> None:
    """Print a row for prefill, decode and the sleeping process."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    busy = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    folder = Path(tempfile.mkdtemp(prefix="request-latency-")) / "run"
    harness("serve", "disagg/known_answer_eagle3", "--runtime", "local", "--run-dir", str(folder))
    others = [multiprocessing.Process(target=compute, daemon=True) for _ in range(busy)]
    try:
        harness("health-wait", str(folder))
        for other in others:
            other.start()
        servers = [running["server"] for running in json.loads((folder / "servers.json").read_text())["servers"]]
        urls = {each["name"]: f"http://127.0.0.1:{each['ports']['http']}" for each in servers if each["has_metrics"]}
        found = measure(urls, seconds)
    finally:
        for other in others:
            other.kill()
        harness("stop", str(folder))
    print("| what | n | median (s) | 99 % (s) | longest (s) |")
    print("| --- | --- | --- | --- | --- |")
    for name, latencies in found.items():
        latencies.sort()
        shown = [latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100], latencies[-1]]
        print(f"| {name} | {len(latencies)} | " + " | ".join(f"{value:.2f}" for value in shown) + " |")
    shutil.rmtree(folder.parent)


if __name__ == "__main__":
    main()
