"""The hooks of pre-commit are what `./nox -s lint` runs."""

from __future__ import annotations

import ast
import re

import yaml

from tests.helpers import REPOSITORY

HOOKS = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
PLACE = ".nox/lint/bin/"


def lint() -> set[str]:
    """Its commands, less the paths."""
    tree = ast.parse((REPOSITORY / "noxfile.py").read_text())
    (function,) = (each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "lint")
    calls = (
        each for each in ast.walk(function) if isinstance(each, ast.Call) and ast.unparse(each.func) == "session.run"
    )
    words = ([str(each.value) for each in call.args if isinstance(each, ast.Constant)] for call in calls)
    return {" ".join(word for word in each if not (REPOSITORY / word).exists() or word == "harness") for each in words}


def test_a_commit_is_asked_what_lint_asks() -> None:
    assert all(each["entry"].startswith(PLACE) for each in HOOKS)
    entries = {each["entry"].removeprefix(PLACE).removesuffix(" --force-exclude") for each in HOOKS}
    assert entries == lint()
    assert len(entries) == len(HOOKS) > 10


def test_every_hook_has_files() -> None:
    paths = [
        str(path.relative_to(REPOSITORY))
        for pattern in ("*", ".github/**/*", "[.a-z]*/*", "baselines/*/*", "harness/**/*.py")
        for path in REPOSITORY.glob(pattern)
        if path.is_file()
    ]
    for hook in HOOKS:
        assert any(re.search(hook.get("files", ""), path) for path in paths), hook["id"]
