"""What is found where servers will run, with what their environment is: user, harness, caches, data.

The argument is JSON: ``engine``, the ``env`` of its servers, the run's ``folder``, paths of ``data`` files, the
``harness``'s interpreter in an image (else empty) and the ``version`` of the harness that asks.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

LOOKED_AT = ("HOME", "XDG_CACHE_HOME", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT")
"""The variables of a server's environment that count here."""


def folders(engine: str, env: dict[str, str], run_directory: str) -> dict[str, str]:
    """Folders that an engine writes to, by what they are called."""
    home = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 # Path's raises where there is none
    cache = env.get("XDG_CACHE_HOME") or str(pathlib.Path(home, ".cache"))
    found = {"HOME": home, "XDG_CACHE_HOME": cache, "run directory": run_directory}
    found["TRITON_CACHE_DIR"] = env.get("TRITON_CACHE_DIR") or str(pathlib.Path(home, ".triton", "cache"))
    if engine == "vllm":
        found["VLLM_CACHE_ROOT"] = env.get("VLLM_CACHE_ROOT") or str(pathlib.Path(cache, "vllm"))
    return found


def unwritable(path: str) -> str:
    """Empty if the folder, or the nearest there is above it, can be written to, else why not."""
    there = pathlib.Path(path).absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".harness-canary-"):
            return ""
    except OSError as error:
        return f"{there}: {error.strerror}"


def digest(path: str) -> str:
    """SHA-256 of a file, or why it cannot be read."""
    try:
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    except OSError as error:
        return str(error.strerror)


def harness_version(python: str) -> str:
    """Of the harness that an interpreter has; empty if it does not answer."""
    program = "import harness; print(harness.__version__)"
    try:
        done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def found(asked: dict[str, Any]) -> dict[str, Any]:
    """The answer."""
    looked_at = folders(asked["engine"], {**os.environ, **asked["env"]}, asked["folder"])
    return {
        "uid": os.getuid(),
        "harness": harness_version(asked["harness"]) if asked["harness"] else asked["version"],
        "folders": {f"{name} ({path})": unwritable(path) for name, path in looked_at.items()},
        "data": {path: digest(path) for path in asked["data"]},
    }


if __name__ == "__main__":
    answer = found(json.loads(sys.argv[1]))
    print()  # whatever Python's start printed may have left its line open
    print(json.dumps(answer))
