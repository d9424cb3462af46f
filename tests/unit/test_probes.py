"""Programs that another interpreter runs: what they find, and that they need neither the harness nor a new Python."""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.base import programs
from harness.engines.probes import common, sglang_probe, sources_probe, vllm_probe
from harness.run.probes import environment, imports, surroundings
from harness.upkeep.probes import packages
from tests.unit.test_canary import CUDA_13

PROGRAMS = {
    "vllm": programs.text(common, vllm_probe),
    "sglang": programs.text(common, sglang_probe),
    "sources": programs.text(sources_probe),
    "environment": programs.text(environment),
    "imports": programs.text(imports),
    "surroundings": programs.text(surroundings),
}
Lay = Callable[[dict[str, str]], None]


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lay]:
    """Modules of these names with these sources, to be imported as long as a test lasts."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def laid(sources: dict[str, str]) -> None:
        for name, source in sources.items():
            path = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
            for parent in path.relative_to(tmp_path).parents[:-1]:
                (tmp_path / parent / "__init__.py").touch()

    yield laid
    for name in set(sys.modules) - before:
        del sys.modules[name]


def answered(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def as_program(text: str, *arguments: str) -> None:
    """Run a text as ``python -c`` does."""
    before, sys.argv = sys.argv, ["-c", *arguments]
    try:
        exec(compile(text, "-c", "exec"), {"__name__": "__main__"})
    finally:
        sys.argv = before


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_for_python_310_and_brings_all_it_needs(name: str) -> None:
    tree = ast.parse(PROGRAMS[name], feature_version=(3, 10))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported
    assert {each.partition(".")[0] for each in imported} <= sys.stdlib_module_names


def test_what_a_program_imports_of_ours_comes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = "from harness.a.b import (\n    one,\n    two,\n)\nprint(one)\n"
    sources = {"a": "one = 1\n", "b": f"import os\n{wrapped}"}
    monkeypatch.setattr("inspect.getsource", lambda module: sources[module.__name__])
    assert programs.text(ModuleType("a"), ModuleType("b")) == "one = 1\n\nimport os\nprint(one)\n"


def test_the_first_place_that_exists_counts(lay: Lay) -> None:
    lay({"laid.new": "thing = 'new'", "laid.old": "thing = 'old'", "laid.broken": "import nowhere_at_all"})
    assert common.first("laid.gone:thing", "laid.new:nothing", "laid.new:thing", "laid.old:thing") == "new"
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        common.first("laid.broken:thing", "laid.old:thing")
    with pytest.raises(SystemExit, match=r"none of these exists: laid\.gone:thing"):
        common.first("laid.gone:thing")


def test_variables_are_found_where_they_are_read(lay: Lay) -> None:
    lay({"laid.deep.inside": "os.environ.get('A_ONE'); os.getenv(\n  'A_TWO'); env_var = ['A_THREE']; 'A_FOUR'"})
    assert common.read_directly("laid") == {"A_ONE", "A_TWO"}
    assert common.read_directly("nowhere_at_all") == set()


def test_options_that_are_taken_count_though_no_action_shows_them() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--shown", action=argparse.BooleanOptionalAction).option_strings = ["--shown"]
    assert common.options_of(parser) == {"--shown", "--no-shown"}


def test_values_that_a_variable_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    def layout() -> None:
        if os.environ["LAYOUT"] not in ("NHD", "HND"):
            raise ValueError("Invalid value '?'. Valid options: ['NHD', 'HND'].")

    monkeypatch.setenv("LAYOUT", "HND")
    monkeypatch.delenv("ANY", raising=False)
    register: dict[str, Callable[[], Any]] = {"LAYOUT": layout, "ANY": lambda: os.environ["ANY"], "BAD": lambda: 1 / 0}
    assert vllm_probe.choices_of(register) == {"LAYOUT": ["NHD", "HND"]}
    assert os.environ["LAYOUT"] == "HND"
    assert "ANY" not in os.environ


SGLANG = {
    "sglang.srt.server_args": "class ServerArgs:\n"
    "    @staticmethod\n"
    "    def add_cli_args(parser):\n"
    "        parser.add_argument('--model-path')\n",
    "sglang.srt.environ": "class How:\n"
    "    def __init__(self, replacement): self.replacement = replacement\n"
    "class Envs:\n"
    "    SGLANG_NEW = 1\n"
    "    _private = 2\n"
    "_DEPRECATED_ENVS = {'SGLANG_OLD': How('SGLANG_NEW'), 'SGLANG_GONE': How(None)}\n",
}


def test_sglang_says_what_it_knows(lay: Lay, capsys: pytest.CaptureFixture[str]) -> None:
    lay(SGLANG)
    as_program(PROGRAMS["sglang"])
    found = answered(capsys)
    sglang_probe.main()
    assert answered(capsys) == found
    assert found == {
        "options": ["--help", "--model-path", "-h"],
        "variables": ["SGLANG_NEW", "SGLANG_OLD"],
        "errors": {},
    }


def test_what_breaks_in_one_way_of_asking_is_told_and_the_others_answer(
    lay: Lay, capsys: pytest.CaptureFixture[str]
) -> None:
    lay(SGLANG | {"sglang.srt.server_args": "import nowhere_at_all"})
    as_program(PROGRAMS["sglang"])
    assert answered(capsys) == {
        "variables": ["SGLANG_NEW", "SGLANG_OLD"],
        "errors": {"options": "ModuleNotFoundError: No module named 'nowhere_at_all'"},
    }


def test_sources_tell_names_though_nothing_can_be_imported(lay: Lay) -> None:
    lay({"laid.one": "raise SystemExit\nread('LAID_A', \"LAID_B\", 'OTHER_C', '--some-flag', 'see --no-flag')"})
    assert sources_probe.named("laid", ["LAID_"]) == {"variables": ["LAID_A", "LAID_B"], "options": ["--some-flag"]}
    assert sources_probe.named("nowhere_at_all", ["X_"]) == {"variables": [], "options": []}


def test_vllm_says_what_it_knows(lay: Lay, capsys: pytest.CaptureFixture[str]) -> None:
    lay(
        {
            "vllm.utils": "from argparse import ArgumentParser as FlexibleArgumentParser",
            "vllm.entrypoints.openai.cli_args": "def make_arg_parser(parser):\n"
            "    parser.add_argument('--max-model-len')\n    return parser",
            "vllm.envs": "environment_variables = {'VLLM_HOST_IP': lambda: None}",
        }
    )
    as_program(PROGRAMS["vllm"])
    found = answered(capsys)
    vllm_probe.main()
    assert answered(capsys) == found
    assert found["options"] == ["--help", "--max-model-len", "--max_model_len", "-h"]
    assert (found["variables"], found["choices"]) == (["VLLM_HOST_IP"], {})


def test_the_environment_is_told_without_importing_the_engine(lay: Lay, capsys: pytest.CaptureFixture[str]) -> None:
    lay({"laid.inside": "raise AssertionError('imported')"})
    asked = {"engine": "laid", "distributions": ["pytest", "no-such-distribution"]}
    asked |= {"command": [], "module": "laid.inside", "called": sys.executable}
    as_program(PROGRAMS["environment"], json.dumps(asked))
    found = answered(capsys)
    assert set(found["versions"]) == {"python", "pytest"}
    assert found["versions"]["pytest"] == pytest.__version__
    assert found["sources"][0] == 2
    assert found["starts"] == {"command": [], "module": [sys.executable, "-m", "laid.inside"]}
    environment.main(json.dumps(asked | {"engine": "nowhere_at_all", "module": "laid.gone"}))
    found = answered(capsys)
    assert found["sources"] == [0]
    assert found["starts"] == {"command": [], "module": []}


@pytest.fixture
def installed(lay: Lay, tmp_path: Path) -> Callable[[], dict[str, list[str]]]:
    """A distribution ``laid`` whose console script calls ``laid.cli:main``, and the ways to start it."""
    lay({"laid.cli": "raise AssertionError('imported')", "laid.old": ""})
    about = tmp_path / "laid-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: laid\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[console_scripts]\nlaid = laid.cli:main\n")
    (tmp_path / "bin").mkdir()
    asked = {"distributions": ["laid"], "command": ["laid", "serve"], "module": "laid.old"}
    return lambda: environment.starts(asked | {"called": str(tmp_path / "bin" / "python")})


def test_a_server_is_started_by_the_script_of_this_very_interpreter(
    installed: Callable[[], dict[str, list[str]]], tmp_path: Path
) -> None:
    python, script = tmp_path / "bin" / "python", tmp_path / "bin" / "laid"
    by_entry = installed()["command"]
    assert by_entry[:2] == [str(python), "-c"]
    assert by_entry[3:] == ["serve"]
    assert "from laid.cli import main as main" in by_entry[2]
    for head in (f"#!{python}", f"#! {python}3 -I", f'#!/bin/sh\n\'\'\'exec\' "{python}" "$0" "$@"'):
        script.write_text(f"{head}\nimport laid\n")
        script.chmod(0o755)
        assert installed()["command"] == [str(script), "serve"]
    for head in ("#!/elsewhere/bin/python", "#!/usr/bin/env python3", "\x7fELF", ""):
        script.write_text(f"{head}\nimport laid\n")
        assert installed()["command"] == by_entry, "what another interpreter runs is another build"
    script.write_text(f"#!{python}\n")
    script.chmod(0o644)
    assert installed()["command"] == by_entry


def test_a_build_without_the_command_is_run_as_a_module(
    installed: Callable[[], dict[str, list[str]]], tmp_path: Path
) -> None:
    (tmp_path / "laid" / "cli.py").unlink()
    assert installed() == {"command": [], "module": [str(tmp_path / "bin" / "python"), "-m", "laid.old"]}
    (tmp_path / "laid" / "old.py").unlink()
    assert installed() == {"command": [], "module": []}


def test_an_edit_changes_what_stands_for_the_build(lay: Lay, tmp_path: Path) -> None:
    lay({"laid.inside": ""})
    before = environment.sources("laid")
    os.utime(tmp_path / "laid" / "inside.py", ns=(0, before[1] + 1))
    assert environment.sources("laid") == [2, before[1] + 1]


def test_each_import_is_tried_by_itself(lay: Lay, capsys: pytest.CaptureFixture[str]) -> None:
    lay(
        {
            "fine.server": "print('no line end', end='')",
            "ends": "raise SystemExit('a\\n b')",
            "nixl._api": "class nixl_agent:\n"
            "    def __init__(self, name, config): pass\n"
            "    def create_backend(self, backend):\n"
            "        if backend != 'UCX': raise RuntimeError('NIXL_ERR_NOT_FOUND')\n"
            "def nixl_agent_config(backends): pass\n",
            "mooncake.engine": "",
            "deep_ep": "raise ImportError('libcuda.so.1: cannot open shared object file')",
            "torch": "__version__ = '2.13.0+cu130'\nclass version:\n    cuda, hip = '13.0', None",
        }
    )
    question = {
        "modules": ["fine.server", "nowhere_at_all", "ends"],
        "transports": [["nixl", "UCX"], ["nixl", "POSIX"], ["mooncake.engine", ""]],
        "libraries": ["deep_ep", "nowhere_at_all"],
        "torch": ["cuda", "hip"],
    }
    as_program(PROGRAMS["imports"], json.dumps(question))
    assert answered(capsys) == {
        "modules": {
            "fine.server": "",
            "nowhere_at_all": "ModuleNotFoundError: No module named 'nowhere_at_all'",
            "ends": "SystemExit: a b",
            "torch": "",
        },
        "transports": {"nixl UCX": "", "nixl POSIX": "RuntimeError: NIXL_ERR_NOT_FOUND", "mooncake.engine": ""},
        "torch": CUDA_13,
        "absent": ["nowhere_at_all"],
    }
    assert imports.found({**question, "torch": []})["torch"] == {}


def test_the_surroundings_of_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, home = tmp_path / "q.jsonl", tmp_path / "home"
    data.write_text("a question\n")
    env = {"HOME": str(home), "XDG_CACHE_HOME": "/proc/1/cache"}
    question = {
        "engine": "vllm",
        "env": env,
        "folder": str(tmp_path / "run"),
        "data": [str(data), str(home)],
        "harness": "",
        "version": "0.1.0",
    }
    as_program(PROGRAMS["surroundings"], json.dumps(question))
    found = answered(capsys)
    assert (found["uid"], found["harness"]) == (os.getuid(), "0.1.0")
    assert found["data"] == {
        str(data): hashlib.sha256(b"a question\n").hexdigest(),
        str(home): "No such file or directory",
    }
    named = {name.split(" (")[0]: problem for name, problem in found["folders"].items()}
    assert set(named) == {"HOME", "XDG_CACHE_HOME", "run directory", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT"}
    assert not any((named["HOME"], named["run directory"], named["TRITON_CACHE_DIR"]))
    assert named["XDG_CACHE_HOME"].startswith("/proc/1: ")
    assert named["VLLM_CACHE_ROOT"].startswith("/proc/1: ")
    assert f"VLLM_CACHE_ROOT (/proc/1/cache{os.sep}vllm)" in found["folders"]
    assert not home.exists()


def test_a_package_is_found_with_the_first_distribution_that_is_there() -> None:
    found = packages.found("packaging", ["no-such-distribution", "packaging"])
    assert found["name"] == "packaging"
    assert found["version"]
    assert Path(found["folder"], "__init__.py").is_file()
    assert packages.found("packaging", ["no-such-distribution"]).keys() == {"folder"}
    assert packages.found("no_such_package", ["packaging"]) == {}
