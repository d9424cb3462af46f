"""Make an "interpreter" whose environment holds the scripted engine in the place of vLLM and vllm-router."""

from __future__ import annotations

import json
import shlex
import sys
import sysconfig
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


def environment(folder: Path, faults: dict[str, dict[str, Any]], site: Path = SITE) -> Path:
    """The same as a virtual environment, for what is done to environments; returns its interpreter."""
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    packages = folder / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    script = folder / "faults.json"
    script.write_text(json.dumps(faults))
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\nversion = {version}\n")
    lines = [
        f"import os; os.environ.setdefault('FAKE_ENGINE_SCRIPT', {str(script)!r})",
        str(site),
        str(REPOSITORY),
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})",
    ]
    (packages / "fake_engine.pth").write_text("\n".join(lines) + "\n")
    python = folder / "bin" / "python"
    python.symlink_to(base)
    command = folder / "bin" / "vllm"
    command.write_text(f"#!{python}\nimport sys\n\nfrom vllm.entrypoints.cli.main import main\n\nsys.exit(main())\n")
    command.chmod(0o755)
    return python
