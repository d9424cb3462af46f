"""Programs that ask an engine what it knows, on sources laid out as those of several releases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.engines import ENGINES

# What vLLM 0.33 does to its switches: --no-enable-x is taken, and its action does not show it.
PARSER = """
import argparse

class Hiding(argparse.BooleanOptionalAction):
    def show_less(self):
        self.option_strings = self.option_strings[:1]

class FlexibleArgumentParser(argparse.ArgumentParser):
    def add_argument(self, *names, **settings):
        action = super().add_argument(*names, **settings)
        if isinstance(action, Hiding):
            action.show_less()
        return action
"""
ARGUMENTS = """
from {home} import Hiding

def make_arg_parser(parser):
    parser.add_argument("--enable-prefix-caching", action=Hiding)
    parser.add_argument("--max-model-len", "-mml")
    return parser
"""


def laid_out(folder: Path, arguments: str, parser: str) -> Path:
    """A package ``vllm`` with what is asked in the modules of these names."""
    for name, text in (
        (parser, PARSER),
        (arguments, ARGUMENTS.format(home=parser)),
        ("vllm.envs", "environment_variables = {'VLLM_HOST_IP': lambda: None}"),
    ):
        path = folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent / "__init__.py").touch()
    return folder


def asked(folder: Path) -> dict[str, Any]:
    argv = [sys.executable, "-c", ENGINES["vllm"].probe]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(folder)})
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("arguments", "parser"),
    [
        ("vllm.entrypoints.common.cli_args", "vllm.utils.argparse_utils"),
        ("vllm.entrypoints.launchers.cli_args", "vllm.utils.argparse_utils"),
        ("vllm.entrypoints.openai.cli_args", "vllm.utils.argparse_utils"),
    ],
)
def test_options_are_found_wherever_a_release_has_them(tmp_path: Path, arguments: str, parser: str) -> None:
    found = asked(laid_out(tmp_path, arguments, parser))
    assert {"--max-model-len", "--max_model_len", "-mml"} <= set(found["options"])
    assert found["variables"] == ["VLLM_HOST_IP"]


def test_a_switch_that_is_taken_counts_though_it_is_not_shown(tmp_path: Path) -> None:
    found = asked(laid_out(tmp_path, "vllm.entrypoints.common.cli_args", "vllm.utils.argparse_utils"))
    assert {"--enable-prefix-caching", "--no-enable-prefix-caching", "--no_enable_prefix_caching"} <= set(
        found["options"]
    )
