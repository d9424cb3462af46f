"""`harness doctor` among servers that answer, refuse and hang: it is never held up, writes nothing and tells nobody."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.base.clock import Deadline
from harness.cases.load import load
from harness.host import internet
from harness.host import machine as host
from harness.host.background import Later
from harness.plan.points import everything
from tests.fake.engine_api import EngineApi, serving
from tests.fake.hosts import Nvidia
from tests.fake_engine.install import install
from tests.helpers import (
    BASELINES,
    REPOSITORY,
    command,
    edited,
    environment,
    harness,
    in_hub_cache,
    listening,
    tensors,
    wait_for,
)

TOKEN = "hf_" + "planted0123456789" * 2
PASSWORD = "correct-horse"


class Scripted(ThreadingHTTPServer):
    """Answers with one status, or never.

    Attributes:
        status: Of every answer; 0 for none.
        asked: Path and Authorization of every request.
    """

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.status = status
        self.asked: list[tuple[str, str]] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        if not self.server.status:
            self.server.over.wait(60)
            return
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted(200)
    with listening(scripted):
        yield scripted
        scripted.over.set()


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Environment of a user who has nothing yet, and no network but this machine."""
    nobody = "http://127.0.0.1:1"
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": nobody,
        "PIP_INDEX_URL": nobody,
        "HTTPS_PROXY": nobody,
        "NO_PROXY": "127.0.0.1",
        "HARNESS_DATA_DIR": "",
        "PIP_CONFIG_FILE": "",
    }


@pytest.mark.parametrize(
    ("status", "token", "login", "problem"),
    [
        (200, "", False, ""),
        (302, "", False, ""),
        (401, "", True, ""),
        (401, "", False, "it answers 401: it wants a login"),
        (401, TOKEN, False, "it answers 401: the token is refused"),
        (403, TOKEN, False, "it answers 403: the token is refused"),
        (404, "", False, "it answers 404"),
        (503, "", True, "it answers 503"),
        (0, "", False, "no answer in time"),
    ],
)
def test_a_server_answers(server: Scripted, status: int, token: str, login: bool, problem: str) -> None:
    server.status = status
    assert internet.problem(f"{server.url}/x", 0.5, token, login=login) == problem
    assert server.asked == [("/x", f"Bearer {token}" if token else "")]


def test_nobody_is_there() -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        assert internet.problem(f"http://127.0.0.1:{bound.getsockname()[1]}", 2) == "no connection"
    assert internet.problem("http://[broken", 2) == "not an address that can be asked"
    assert internet.problem("nonsense", 2) == "not an address that can be asked"


def test_a_host_is_named_without_its_password() -> None:
    assert internet.host(f"https://user:{PASSWORD}@index.example:8443/simple") == "index.example:8443"
    assert internet.host("http://[broken") == "an address that cannot be read"


def test_an_answer_that_drips_does_not_hold_up_the_rest() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                while not over.wait(0.1):
                    connection.sendall(b"H")

        threading.Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        deadline = Deadline(0.6)
        assert Later(lambda: internet.problem(url, 0.5)).within(deadline, "late") == "late"
        assert deadline.elapsed < 2
        over.set()


def test_what_breaks_in_a_thread_is_not_swallowed() -> None:
    def broken() -> str:
        raise LookupError("of our own making")

    with pytest.raises(LookupError, match="of our own making"):
        Later(broken).within(Deadline(5), "")


def test_servers_that_hang_hold_up_nothing(server: Scripted, home: dict[str, str], tmp_path: Path) -> None:
    server.status = 0
    docker = {"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"}
    started = time.monotonic()
    silent = {"HF_ENDPOINT": server.url, "PIP_INDEX_URL": server.url}
    done = harness("doctor", "--environments", tmp_path / "envs", env=home | silent | docker)
    assert time.monotonic() - started < 10, "5 s for all answers, the rest for a busy machine"
    assert done.returncode == 4, done.stderr
    assert f"network: hub: 127.0.0.1:{server.server_port}: no answer in time" in done.stdout
    assert f"network: packages: 127.0.0.1:{server.server_port}: no answer in time" in done.stdout
    assert "container engine: none answers" in done.stdout
    assert len([line for line in done.stdout.splitlines() if "_cpu: no: vllm is not installed yet" in line]) == len(
        {each.session for each in everything(load(BASELINES)) if each.platform == "cpu" and each.on_menu}
    )


def test_a_token_and_a_password_are_never_shown(server: Scripted, home: dict[str, str]) -> None:
    index = f"http://user:{PASSWORD}@127.0.0.1:{server.server_port}/simple"
    given = home | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "PIP_INDEX_URL": index}
    for form in ("table", "json"):
        done = harness("doctor", "--platform", "cuda", "--format", form, env=given)
        for text in (done.stdout, done.stderr):
            assert TOKEN not in text
            assert PASSWORD not in text
    assert "a token is set" in harness("doctor", "--platform", "cuda", env=given).stdout
    # The token goes to the hub alone.
    assert {path for path, authorization in server.asked if TOKEN in authorization} == {"/api/whoami-v2"}


def test_a_refused_token_is_a_reason(server: Scripted, home: dict[str, str]) -> None:
    server.status = 401
    done = harness("doctor", "--platform", "cuda", env=home | {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN})
    assert f"network: hub: 127.0.0.1:{server.server_port}: it answers 401: the token is refused" in done.stdout


def test_offline_asks_nobody(server: Scripted, home: dict[str, str]) -> None:
    done = harness("doctor", "--offline", env=home | {"HF_ENDPOINT": server.url, "PIP_INDEX_URL": server.url})
    assert server.asked == []
    assert "network: nobody was asked" in done.stdout


def test_it_writes_nothing(server: Scripted, home: dict[str, str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = harness("doctor", "--runs", tmp_path / "runs", env=home | {"PIP_INDEX_URL": server.url})
    assert "eagle3_cpu: " in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_an_index_that_answers_is_enough_for_the_cpu(server: Scripted, home: dict[str, str], tmp_path: Path) -> None:
    arguments = ["doctor", "--suite", "eagle3", "--platform", "cpu", "--environments", str(tmp_path / "envs")]
    arguments += ["--runs", str(tmp_path / "runs")]
    done = harness(*arguments, env=home | {"PIP_INDEX_URL": f"{server.url}/simple"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "eagle3_cpu: yes; run: nox -s eagle3_cpu"
    assert [path for path, _ in server.asked] == ["/simple/pip/"]


def test_away_from_a_checkout_its_commands_are_the_harnesss_own(
    server: Scripted, home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "baselines").symlink_to(BASELINES)
    env = home | {"PIP_INDEX_URL": f"{server.url}/simple"}
    done = harness("doctor", "--suite", "eagle3", "--platform", "cpu", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "eagle3_cpu: yes; run: harness run --suite eagle3 --platform cpu"


def test_models_in_the_cache_are_found(home: dict[str, str], tmp_path: Path) -> None:
    models = [model for each in everything(load(BASELINES)) for model in each.case.models() if model.repo]
    repo, revision = next((each.repo, each.revision) for each in models if each.revision != "unresolved")
    assert repo
    in_hub_cache(tmp_path / "hub" / "hub", repo, str(revision), {"config.json": b"{}", "model.safetensors": tensors()})
    other = next(each for each in models if each.revision not in (revision, "unresolved") and each.repo != repo)
    in_hub_cache(tmp_path / "hub" / "hub", str(other.repo), str(other.revision), {"config.json": b"{}"})  # a part
    done = harness("doctor", "--offline", "--format", "json", env=home)
    found = json.loads(done.stdout)["machine"]["models"]
    assert [name for name, there in found.items() if there] == [f"{repo}@{revision}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_ends_it(server: Scripted, home: dict[str, str], number: signal.Signals) -> None:
    server.status = 0
    process = subprocess.Popen(
        command("doctor"),
        env=environment(home | {"HF_ENDPOINT": server.url, "PIP_INDEX_URL": server.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=REPOSITORY,
        process_group=0,
    )
    wait_for(lambda: server.asked)
    started = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert time.monotonic() - started < 10, "at once, or where Python lost it, at the end"
    group = [each for each in psutil.process_iter() if _group(each) == process.pid]
    assert group == []


def _group(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except OSError:
        return 0


def machine(*arguments: str, env: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts, and sessions by name."""
    done = harness("doctor", "--offline", "--format", "json", *arguments, env=env)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    return found["machine"], {each["session"]: each for each in found["sessions"]}


def test_a_host_with_devices_that_a_container_can_be_given(home: dict[str, str], tmp_path: Path) -> None:
    nvidia = Nvidia(tmp_path / "host", 8)
    spec = tmp_path / "cdi" / "nvidia.json"
    api = EngineApi(info={"CDISpecDirs": [str(spec.parent)], "Runtimes": {"runc": {}}, "CgroupVersion": "2"})
    with serving(api, tmp_path / "engine.sock") as address:
        env = home | nvidia.env | {"DOCKER_HOST": address}
        facts, sessions = machine("--platform", "cuda", "--runtime", "docker", env=env)
        devices = facts["accelerators"]["cuda"]["devices"]
        assert [(each["name"], each["product"]) for each in devices] == [(str(n), "NVIDIA H200") for n in range(8)]
        obstacle = sessions["draft_model_cuda"]["obstacles"][0]
        assert obstacle["kind"] == "passthrough"
        assert "nvidia-container-toolkit is not there" in obstacle["reason"]
        assert "nvidia-ctk cdi generate" in obstacle["next_step"]
        spec.parent.mkdir()
        named = [{"name": gpu["uuid"], "containerEdits": {}} for gpu in nvidia.gpus]
        spec.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": named}))
        facts, sessions = machine("--platform", "cuda", "--runtime", "docker", env=env)
        assert facts["container"]["refused"] == {}
        # The scripted engine has every image.
        assert sessions["draft_model_cuda"]["answer"] == "yes"
        assert sessions["draft_model_cuda"]["runtime"] == "docker"
    assert api.created == []


def test_slices_and_devices_in_use(home: dict[str, str], tmp_path: Path) -> None:
    nvidia = Nvidia(tmp_path / "host", 3)
    nvidia.gpus[0]["slices"] = [{"uuid": "MIG-0", "name": "NVIDIA H200 MIG 1g.18gb", "total": 18 << 30}]
    nvidia.gpus[1]["processes"] = [[os.getpid(), 5 << 30]]
    nvidia.write()
    facts, sessions = machine("--platform", "cuda", "--engine-python", sys.executable, env=home | nvidia.env)
    found = facts["accelerators"]["cuda"]
    assert [each["whole"] for each in found["devices"]] == ["GPU-0aaa", "", ""]
    assert f"pid {os.getpid()}" in found["taken"]["1"]
    assert sessions["draft_model_cuda"]["answer"] == "yes"
    kinds = {each["kind"] for session in sessions.values() for each in session["obstacles"]}
    assert {"devices", "slices", "devices in use", "models"} <= kinds
    facts, _ = machine("--platform", "cuda", env=home | nvidia.env | {"CUDA_VISIBLE_DEVICES": "7"})
    assert "CUDA_VISIBLE_DEVICES names device 7" in facts["accelerators"]["cuda"]["problem"]


def test_what_a_driver_does_not_say_is_said(home: dict[str, str], tmp_path: Path) -> None:
    nvidia = Nvidia(tmp_path / "host", 4)
    nvidia.gpus[0]["errors"] = {"memory": "Not Supported", "processes": "Insufficient Permissions"}
    nvidia.gpus[2]["errors"] = {"handle": "GPU is lost"}
    nvidia.write()
    here = ["--platform", "cuda", "--engine-python", sys.executable]
    only = home | nvidia.env | {"CUDA_VISIBLE_DEVICES": "0,2"}
    facts, sessions = machine(*here, env=only)
    found = facts["accelerators"]["cuda"]
    assert [each["uuid"] for each in found["devices"]] == ["GPU-0aaa"]
    assert "device 2 cannot be used: GPU is lost" in found["said"][0]
    assert "cannot tell whether it is free: memory: Not Supported" in found["unknown"]["GPU-0aaa"]
    obstacle = sessions["draft_model_cuda"]["obstacles"][0]
    assert (obstacle["kind"], sessions["draft_model_cuda"]["answer"]) == ("devices that may be in use", "no")
    assert obstacle["next_step"].startswith("--assume-free")
    _, sessions = machine(*here, "--assume-free", env=only)
    assert sessions["draft_model_cuda"]["answer"] == "yes"
    assert "--assume-free" in sessions["draft_model_cuda"]["command"]
    nvidia.errors = {"init": "Driver/library version mismatch"}
    nvidia.write()
    done = harness("doctor", "--offline", *here, env=home | nvidia.env)
    assert done.returncode == 4
    said = " ".join(done.stdout.split())
    assert "no cuda device: NVIDIA's driver: Driver/library version mismatch" in said
    assert "reboot, or load the driver's kernel modules anew" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--platform", "gpu"], 2, "--platform gpu: must be one of cpu, cuda, rocm"),
        (["--format", "xml"], 2, "xml"),
        (["--suite", "nosuch"], 3, "nothing matches suite nosuch"),
        (["--checkpoints", "nosuch"], 2, "--checkpoints nosuch"),
        (["--registry", "https://x"], 2, "--registry https://x"),
        (["--engine-python", "x", "--runtime", "docker"], 2, "--engine-python"),
        (["--cases", "/nosuch"], 2, "/nosuch"),
        (["--platform", "cpu", "--engine-python", "/nosuch/python"], 4, "nothing of this can run here"),
    ],
)
def test_exit_codes(home: dict[str, str], arguments: list[str], code: int, words: str) -> None:
    done = harness("doctor", "--offline", *arguments, env=home)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_settings_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://mirror.example/simple\n")
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert host.package_index() == "https://mirror.example/simple"
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://a.example/simple\nfile:///b")
    monkeypatch.setenv("PIP_INDEX_URL", "https://c.example/simple")
    assert host.package_indexes() == ["https://c.example/simple", "https://a.example/simple", "file:///b"]
    assert host.folder(tmp_path / "not" / "there" / "yet")[1] == ""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL")
    assert host.package_indexes() == ["https://c.example/simple"]
    assert "is no folder" in host.folder(tmp_path / "pip.conf" / "below")[1]


def test_an_interpreter_is_asked_for_the_libraries_that_settings_need(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", "mtp/known_answer_k1", {"serve/flags/all2all-backend": "deepep_low_latency"})
    python = install(tmp_path / "engine", {})
    done = harness("doctor", "--cases", cases, "--platform", "cpu", "--offline", "--engine-python", python)
    assert "all2all-backend deepep_low_latency needs deep_ep, which is not in the engine's environment" in done.stdout
    assert done.returncode == 4


def test_an_interpreter_that_does_not_answer_holds_up_nobody(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", "mtp/known_answer_k1", {"serve/flags/all2all-backend": "deepep_low_latency"})
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 98761\n")
    python.chmod(0o755)
    done = harness("doctor", "--cases", cases, "--platform", "cpu", "--offline", "--engine-python", python)
    assert "not verified: all2all-backend deepep_low_latency needs deep_ep" in done.stdout
    assert [each for each in psutil.process_iter() if each.name() == "sleep" and "98761" in each.cmdline()] == []
