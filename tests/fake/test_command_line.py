"""The command line: every command helps, and every wrong input is one line with the right exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.cli.main import app
from tests.fake.conftest import DISAGG, SINGLE
from tests.helpers import BASELINES, edited, harness

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS], ["checkpoints"], ["checkpoints", "make"]])
def test_every_command_has_help(command: list[str]) -> None:
    done = harness(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_every_option_and_command_has_a_help_text() -> None:
    import typer.main  # only here

    commands: list[Any] = [typer.main.get_command(app)]
    for command in commands:
        assert command.help, command.name
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.name in {"help", "name"}, (
                command.name,
                parameter.name,
            )
        commands += getattr(command, "commands", {}).values()
    assert len(commands) > len(COMMANDS) + 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--cse", DISAGG], 2, "No such option: --cse"),
        (["runn"], 2, "Did you mean 'run'?"),
        (["run", "--runtime", "podman"], 2, "'podman' is not one of 'auto', 'local', 'docker'"),
        (["run", "--platform", "gpu"], 2, "--platform gpu: must be one of cpu, cuda, rocm"),
        (["run", SINGLE, "--runs", "/dev/null/runs"], 2, "/dev/null/runs: cannot be made: Not a directory; name a"),
        (["serve", SINGLE, "--run-dir", "/dev/null/run"], 2, "/dev/null/run: cannot be made: Not a directory; name a"),
        (["run", "--cases", "nowhere"], 2, "nowhere: no case folder"),
        (["build", "--registry", "https://mirror.test"], 2, "must be like HOST[:PORT][/PREFIX], without https://"),
        (["pins", "--pins", "nowhere.toml"], 2, "nowhere.toml: cannot be read: No such file or directory"),
        (["run", DISAGG, "--runtime", "docker", "--engine-python", "/x"], 2, "not with --runtime docker"),
        (["run", "disagg/known_answer_eagle"], 3, "did you mean 'disagg/known_answer_eagle3'?"),
        (
            ["run", "--suite", "disag"],
            3,
            "nothing matches suite disag; suites are: disagg, draft_model, eagle3",
        ),
        (
            ["run", "--suite", "mtp", "--platform", "rocm"],
            2,
            "no vllm for rocm comes with the harness",
        ),
        (["run", "--suite", "gemma4_mtp", "--platform", "cpu"], 3, "nothing matches suite gemma4_mtp, platform cpu"),
        (["serve", "nothing/here", "--run-dir", "x"], 3, "no case 'nothing/here'"),
        (
            ["serve", "disagg/known_answer_layouts", "--run-dir", "x"],
            2,
            "name one of disagg/known_answer_layouts[layout=2P1D]",
        ),
        (["assert", "/nonexistent"], 2, "no run directory"),
        (["plan", "--shard", "5/4"], 2, "--shard 5/4: must be like 2/4"),
        (["plan", "--changed-files", "/nonexistent"], 2, "--changed-files /nonexistent: cannot be read"),
        (["plan", "eagle3/knwn_answer"], 3, "did you mean 'eagle3/known_answer'?"),
        (["show", "--platform", "tpu", SINGLE], 2, "--platform tpu: must be one of"),
        (["check", "--engine-checkout", "/nonexistent"], 2, "--engine-checkout /nonexistent: no such folder"),
    ],
)
def test_wrong_input_is_one_line(arguments: list[str], code: int, words: str) -> None:
    done = harness(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_misspelt_key_is_one_line_and_leaves_no_run_directory(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, {"evaluation/item": 3}, generate=False)
    done = harness("run", "--cases", cases, "--runs", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stderr == (
        f"harness: {cases}/eagle3/known_answer.toml: evaluation.item: unknown key; did you mean 'items'?\n"
    )
    assert not (tmp_path / "runs").exists()


def test_run_directories_are_never_mixed(tmp_path: Path) -> None:
    (tmp_path / "something").write_text("")
    done = harness("run", DISAGG, "--runs", tmp_path)
    assert done.returncode == 2
    assert "must name a new or empty folder" in done.stderr


def test_generate_check_is_clean_and_notices(tmp_path: Path) -> None:
    assert harness("generate", "--check").returncode == 0
    cases = edited(tmp_path / "cases", SINGLE, {"checks/accuracy/expected": 0.5})
    done = harness("generate", "--check", "--cases", cases)
    assert done.returncode == 1
    assert f"not current: {cases}/eagle3/known_answer.toml" in done.stdout


def test_checkpoints_are_made_and_named(tmp_path: Path) -> None:
    done = harness("checkpoints", "make", tmp_path)
    assert done.returncode == 0
    listed = {Path(line.split("  ")[1]).name: line.split("  ")[0] for line in done.stdout.splitlines()}
    assert len(listed["target"]) == 64
    assert set(listed) == {path.name for path in tmp_path.iterdir()}


def test_the_stage_scripts_are_posix_shell() -> None:
    for script in sorted((BASELINES.parent / "scripts").iterdir()):
        lines = script.read_text().splitlines()
        assert len(lines) == 3
        assert lines[0] == "#!/bin/sh"
        assert lines[2] == f'exec harness {script.name} "$@"'
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
