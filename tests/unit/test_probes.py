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
from harness.engines.probes import common, sglang_probe, vllm_probe
from harness.run.probes import environment, imports, surroundings
from tests.unit.test_canary import CUDA_13

PROGRAMS = {
    "vllm": programs.text(common, vllm_probe),
    "sglang": programs.text(common, sglang_probe),
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
        "choices": {},
    }


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
    as_program(PROGRAMS["environment"], "laid", "pytest", "no-such-distribution")
    found = answered(capsys)
    assert set(found["versions"]) == {"python", "pytest"}
    assert found["versions"]["pytest"] == pytest.__version__
    assert found["sources"][0] == 2
    environment.main("nowhere_at_all")
    assert answered(capsys)["sources"] == [0]


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
            "torch": "__version__ = '2.13.0+cu130'\nclass version:\n    cuda, hip = '13.0', None",
        }
    )
    question = {
        "modules": ["fine.server", "nowhere_at_all", "ends"],
        "transports": [["nixl", "UCX"], ["nixl", "POSIX"], ["mooncake.engine", ""]],
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
