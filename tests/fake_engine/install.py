"""Make an "interpreter" whose environment holds the scripted engine in the place of vLLM and vllm-router."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

SITE = Path(__file__).parent / "site"
REPOSITORY = Path(__file__).parents[2]


def install(folder: Path, faults: dict[str, dict[str, Any]], site: Path = SITE) -> Path:
    """Write a shim into ``folder`` that runs this Python with the scripted engine on its path.

    Args:
        folder: Where to.
        faults: What goes wrong, by role (``server``, ``prefill``, ``decode``, ``router``); see ``fake_engine.Script``.
            ``build`` says which flags it has; see ``fake_engine.Build``.
        site: The scripted engine, or an edited copy of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "faults.json"
    script.write_text(json.dumps(faults))
    shim = folder / "python"
    variables = {
        "PYTHONPATH": f"{site}:{REPOSITORY}",
        "FAKE_ENGINE_SCRIPT": str(script),
    }
    assignments = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    shim.write_text(f'#!/bin/sh\nexec env {assignments} {shlex.quote(sys.executable)} "$@"\n')
    shim.chmod(0o755)
    for name, home in (("vllm", "vllm.entrypoints.cli.main"), ("sglang", "sglang.cli.main")):
        script = folder / name
        script.write_text(f"#!{shim}\nimport sys\n\nfrom {home} import main\n\nsys.exit(main())\n")
        script.chmod(0o755)
    return shim
