"""Workflows and actions of GitHub as data, and the shell in them run by hand."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.helpers import NO_ENGINE, REPOSITORY

ACTION = REPOSITORY / "action.yml"
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def parsed(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


def steps(document: Any) -> Iterator[dict[str, Any]]:
    """Every step of a workflow or of a composite action."""
    for job in document.get("jobs", {}).values():
        yield from job.get("steps", [])
    if document.get("runs", {}).get("using") == "composite":
        yield from document["runs"]["steps"]


@dataclass
class Called:
    """A composite action that was run by hand.

    Attributes:
        codes: Exit status of each step that was run, in order.
        outputs: Of the action.
        summary: What the job's summary shows.
    """

    codes: list[int]
    outputs: dict[str, str]
    summary: str
    log: str


def call(
    action: Path,
    workspace: Path,
    inputs: Mapping[str, str],
    during: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Called:
    """Run the shell of a composite action as a runner does, in another repository's workspace.

    Steps that use other actions are left out. ``if`` is believed to be true: each of ours says `always()`, and what
    else it asks is only whether there is something to work on.

    Args:
        action: Its file.
        workspace: Of the caller.
        inputs: By name; the others have their defaults.
        during: Called while the first step runs, which leads a process group.
    """
    document = parsed(action)
    values = {f"inputs.{name}": str(each.get("default", "")) for name, each in document["inputs"].items()}
    values |= {f"inputs.{name}": value for name, value in inputs.items()}
    summary, output = workspace.parent / "summary.md", workspace.parent / "output.txt"
    codes: list[int] = []
    log = ""
    for step in document["runs"]["steps"]:
        if "run" not in step:
            continue
        output.write_text("")
        running = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=workspace,
            env={
                **os.environ,
                **NO_ENGINE,
                "GITHUB_ACTION_PATH": str(action.parent),
                "GITHUB_WORKSPACE": str(workspace),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                **{name: filled(text, values) for name, text in step.get("env", {}).items()},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        if during is not None and not codes:
            during(running)
        log += running.communicate()[0]
        codes.append(running.returncode)
        pairs = (line.partition("=") for line in output.read_text().splitlines())
        values |= {f"steps.{step.get('id')}.outputs.{name}": value for name, _, value in pairs}
        values[f"steps.{step.get('id')}.outcome"] = "failure" if running.returncode else "success"
    outputs = {name: filled(each["value"], values) for name, each in document["outputs"].items()}
    return Called(codes, outputs, summary.read_text() if summary.exists() else "", log)


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with its expressions replaced; what has no value is empty, as a runner has it."""
    return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: values.get(found[1], ""), text)
