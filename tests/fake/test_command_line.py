"""The command line: every command helps, and every wrong input is one line with the right exit code."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from harness import __version__
from harness.cli.main import app
from harness.datasets.pinned_files import DATASETS, MT_BENCH
from tests.fake.conftest import DISAGG, SINGLE
from tests.fuzz.program import harness as ask
from tests.helpers import BASELINES, edited, environment, harness

COMMANDS: dict[tuple[str, ...], Any] = {}
"""Every command by its path, hidden ones and those with others in them too."""


def _collect(path: tuple[str, ...], command: Any) -> None:
    COMMANDS[path] = command
    for name, each in getattr(command, "commands", {}).items():
        _collect((*path, name), each)


_collect((), typer.main.get_command(app))


def test_all_commands_are_there() -> None:
    assert {("run",), ("bundle", "load"), ("checkpoints", "make"), ("stage",)} < set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    asked = ask([*path, "--help"])
    assert (asked.code, asked.stderr) == (0, "")
    assert f"Usage: {' '.join(['harness', *path])} " in asked.stdout
    assert ask([*path, "-h"]) == asked


@pytest.mark.parametrize("path", [(), ("bundle",), ("checkpoints",)], ids=" ".join)
def test_a_command_with_others_in_it_says_which_when_it_is_called_alone(path: tuple[str, ...]) -> None:
    assert ask(path) == ask([*path, "--help"])


def test_the_version() -> None:
    done = harness("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"harness {__version__}\n", "")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_and_command_has_a_help_text(path: tuple[str, ...]) -> None:
    assert COMMANDS[path].help
    for parameter in COMMANDS[path].params:
        assert parameter.help or parameter.name == "name", parameter.name


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_is_declared_to_return_an_exit_code(path: tuple[str, ...]) -> None:
    assert inspect.signature(COMMANDS[path].callback).return_annotation in (int, "int")


def test_a_command_without_an_exit_code_is_not_green() -> None:
    program = "import harness.program as program; program.app = lambda **_: None; program.run()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "a command returns its exit code, and this one returned None" in done.stderr


MEANS_ANOTHER_THING = {
    "case",  # of the canary it may be left out
    "--platform",  # all, this machine's, or one that is needed
    "--runs",  # a new folder, or one with runs in it
    "--format",  # of a plan there is one for GitHub
    "--engine",  # which one, or two builds of one
    "--false-alarm",  # of a gate, or of equal builds
    "--margin",  # of a baseline, or of each quantity that builds are compared by
}


def test_an_option_of_several_commands_means_the_same() -> None:
    named: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for parameter in command.params:
            named.setdefault(max(parameter.opts, key=len), set()).add(parameter.help or "")
    assert {name for name, found in named.items() if len(found) > 1} == MEANS_ANOTHER_THING


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pl"], {"plan"}),
        (["run", "--engine-"], {"--engine-python", "--engine-from", "--engine-wheel"}),
        (["run", "--runtime", ""], {"auto", "local", "docker"}),
        (["bundle", "ver"], {"verify"}),
    ],
)
def test_bash_completes(words: list[str], expected: set[str]) -> None:
    """With the script that the harness itself gives."""
    given = " ".join(f"'{word}'" for word in ["harness", *words])
    script = (
        f'eval "$(harness --show-completion)"; COMP_WORDS=({given}); COMP_CWORD={len(words)}; '
        '_harness_completion harness; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = {**environment(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--cse", DISAGG], 2, "No such option: --cse"),
        (["runn"], 2, "Did you mean 'run'?"),
        (["--version", "plan"], 2, "--version goes without a command; leave plan out"),
        (["bundle", "verfy"], 2, "Did you mean 'verify'?"),
        (
            ["run", "--runtime", "podman"],
            2,
            "Invalid value for '--runtime': 'podman' is not one of 'auto', 'local', 'docker'",
        ),
        (["run", "--platform", "gpu"], 2, "--platform gpu: must be one of cpu, cuda, rocm"),
        (["run", SINGLE, "--runs", "/dev/null/runs"], 2, "/dev/null/runs: cannot be made: Not a directory; name a"),
        (["serve", SINGLE, "--run-dir", "/dev/null/run"], 2, "/dev/null/run: cannot be made: Not a directory; name a"),
        (["run", "--cases", "nowhere"], 2, "nowhere: no case folder"),
        (["build", "--registry", "https://mirror.test"], 2, "must be like HOST[:PORT][/PREFIX], without https://"),
        (["pins", "--pins", "nowhere.toml"], 2, "nowhere.toml: cannot be read: No such file or directory"),
        (["run", DISAGG, "--runtime", "docker", "--engine-python", "/x"], 2, "not with --runtime docker"),
        (["run", "disagg/known_answer_eagle"], 3, "did you mean 'disagg/known_answer_eagle3'"),
        (
            ["run", "--suite", "disag"],
            3,
            "nothing matches suite disag; suites are: any_server, api, dflash, disagg, draft_model, dspark",
        ),
        (
            ["run", "--suite", "mtp", "--platform", "rocm", "--runtime", "local"],
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
        (["plan", "eagle3/knwn_answer"], 3, "did you mean 'eagle3/known_answer'"),
        (["show", "--platform", "tpu", SINGLE], 2, "--platform tpu: must be one of"),
        (["check", "--engine-checkout", "/nonexistent"], 2, "--engine-checkout /nonexistent: no such folder"),
        (["upstream", "/nonexistent"], 2, "/nonexistent: no such folder; name a checkout of vLLM or SGLang"),
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


def test_a_checkpoint_that_there_is_not_is_said() -> None:
    done = ask(("checkpoints", "make", "nowhere", "target", "smollm3"))
    assert (done.code, done.stdout) == (2, "")
    assert "NAME smollm3: no such checkpoint; `harness checkpoints list` has them all" in done.stderr
    assert not Path("nowhere").exists()


def test_named_checkpoints_are_made_alone(tmp_path: Path) -> None:
    done = ask(("checkpoints", "make", str(tmp_path), "chain"))
    assert (done.code, [path.name for path in tmp_path.iterdir()]) == (0, ["chain"])


def test_the_stage_scripts_are_posix_shell() -> None:
    for script in sorted((BASELINES.parent / "scripts").iterdir()):
        lines = script.read_text().splitlines()
        assert len(lines) == 3
        assert lines[0] == "#!/bin/sh"
        assert lines[2] == f'exec harness {script.name} "$@"'
        assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def test_data_is_said_by_digest_or_missed_by_name(tmp_path: Path) -> None:
    """All files are tried, whatever is wrong with the first."""
    (tmp_path / MT_BENCH.file).write_text("another content")
    done = harness("data", env={"HARNESS_DATA_DIR": str(tmp_path)})
    assert done.returncode == 4
    *each, last = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in each] == [f"no {dataset.file}" for dataset in DATASETS]
    assert last == "harness: 3 of 3 data files are not to be had"
