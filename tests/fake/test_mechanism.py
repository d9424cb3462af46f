"""Mechanism that needs real processes, sockets and files."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.base.domain import Probe
from harness.base.errors import CannotJudge
from harness.host import concurrent_requests, environments, http_client, ports, processes, stopping
from harness.host.ownership import Label
from harness.images import docker_build
from harness.run import runtimes
from tests.helpers import wait_for


def client(folder: Path, *, version: str, buildx: bool) -> Path:
    """A docker client that answers three questions."""
    folder.mkdir()
    script = folder / "docker"
    answers = [
        f'[ "$2" = version ] && exit {0 if buildx else 1}',  # docker buildx version
        '[ "$3" = --help ] && echo " --allow  --builder"',  # of bake, or of a client that has none
        f'[ "$1" = version ] && echo {version}',
    ]
    script.write_text("\n".join(["#!/bin/sh", *answers, "exit 0"]) + "\n")
    script.chmod(0o755)
    return script


def test_the_first_client_that_drives_buildkit_is_taken(tmp_path: Path) -> None:
    new = client(tmp_path / "new", version="28.2.2", buildx=False)
    old = client(tmp_path / "old", version="20.10.24", buildx=False)
    plugin = client(tmp_path / "plugin", version="28.2.2", buildx=True)

    def taken(*clients: Path) -> docker_build.Builder:
        return docker_build.builder(":".join(str(each.parent) for each in clients))

    # The newest first on the path falls back to a builder that knows no `RUN --mount`: passed over.
    assert taken(new, old) == docker_build.Builder(str(old), False, f"{old} build with its own BuildKit")
    assert taken(new, plugin, old) == docker_build.Builder(str(plugin), True, f"{plugin} buildx bake", allow=True)
    with pytest.raises(docker_build.BuildFailed, match=f"no docker client here drives BuildKit .tried: {new}.*install"):
        taken(new)
    with pytest.raises(docker_build.BuildFailed, match="tried: none"):
        docker_build.builder(str(tmp_path / "empty"))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def serve_once(listener: socket.socket, greeting: bytes) -> Probe:
    def answer() -> None:
        connection, _ = listener.accept()
        connection.sendall(greeting)
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    return Probe("zmtp", listener.getsockname()[1], "KV side channel")


def test_a_zeromq_greeting_is_an_answer_and_nothing_else_is(listener: socket.socket) -> None:
    assert http_client.ask([serve_once(listener, b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f")], 2) == [""]
    assert http_client.ask([serve_once(listener, b"HTTP/1.1")], 2) == ["KV side channel does not speak ZeroMQ"]
    assert http_client.ask([serve_once(listener, b"")], 2) == ["KV side channel does not speak ZeroMQ"]
    assert http_client.ask([Probe("zmtp", ports.Ports().take(), "KV side channel")], 2) == ["KV side channel is not up"]


def test_a_port_that_accepts_and_stays_silent_is_not_up(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert http_client.ask([Probe("zmtp", port, "KV side channel")], 0.2) == ["KV side channel is not up"]
    assert http_client.ask([Probe("http", port, "/health", "/health")], 0.2) == ["/health: no answer within 0.2 s"]


def test_ports_are_different_free_and_never_handed_out_by_the_system() -> None:
    source = ports.Ports()
    found = [source.take() for _ in range(64)]
    assert len(set(found)) == 64
    assert all(ports.is_free(port) for port in found)
    low, high = ports.ephemeral()
    assert not [port for port in found if low <= port <= high]


def test_ports_where_the_system_hands_out_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "ephemeral", lambda: (1024, 65_535))
    source = ports.Ports()
    assert len({source.take() for _ in range(64)}) == 64


def test_ports_in_a_row_are_free_and_given_once() -> None:
    source = ports.Ports()
    blocks = [range(first, first + 4) for first in (source.take(4) for _ in range(16))]
    assert len({port for block in blocks for port in block}) == 64
    assert all(ports.is_free(port) for block in blocks for port in block)


def test_a_port_in_use_is_not_free(listener: socket.socket) -> None:
    assert not ports.is_free(listener.getsockname()[1])


_WITHOUT_ITS_FIRST_THREAD = """
import ctypes, platform, socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=time.sleep, args=(600,)).start()
print(server.getsockname()[1], flush=True)
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)  # exit, of this thread alone
"""


def test_a_server_whose_first_thread_has_ended_is_stopped_like_any_other(tmp_path: Path) -> None:
    """The system calls it a zombie, as it does any that ends while it waits for its other threads, and its ports."""
    argv, log = [sys.executable, "-c", _WITHOUT_ITS_FIRST_THREAD], tmp_path / "log"
    label = Label("a run", str(tmp_path), "")
    server = processes.start(name="server", argv=argv, env={}, folder=tmp_path, log=log, label=label)
    wait_for(lambda: psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE)
    port = int(log.read_text())
    assert not ports.is_free(port)
    assert server.lives
    assert stopping.stop([server], [port], label, 10.0) == stopping.Stopped()
    assert ports.is_free(port)
    assert not server.lives


def test_an_environment_is_installed_once_and_again_when_its_lock_changes(tmp_path: Path) -> None:
    script, requirements, log = tmp_path / "install.sh", tmp_path / "requirements", tmp_path / "log"
    requirements.mkdir()
    (requirements / "engine.txt").write_text("engine==1\n")
    script.write_text(f'mkdir -p "$2/bin"; ln -sf "$1" "$2/bin/python"; echo "$3" >> {log}\n')

    def ensure() -> tuple[Path, str]:
        return environments.ensure(tmp_path / "env", script, requirements, lambda _: None)

    python, lock = ensure()
    assert processes.run([str(python), "-c", "print(1)"])[1] == "1\n"
    assert ensure() == (python, lock)
    assert log.read_text().count("\n") == 1
    (requirements / "engine.txt").write_text("engine==2\n")
    assert ensure()[1] != lock
    assert log.read_text().count("\n") == 2


def test_of_two_that_want_an_environment_one_installs_it_and_a_killed_one_holds_up_nobody(tmp_path: Path) -> None:
    script, requirements, log = tmp_path / "install.sh", tmp_path / "requirements", tmp_path / "log"
    requirements.mkdir()
    script.write_text(f'echo "$$" >> {log}; mkdir -p "$2/bin"; ln -sf "$1" "$2/bin/python"; exec sleep ${{NAP:-1}}\n')
    program = (
        "import sys, pathlib; from harness.host import environments; where, *rest = map(pathlib.Path, sys.argv[1:]);"
        "environments.ensure(where, *rest, print)"
    )

    def start(nap: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-u", "-c", program, str(tmp_path / "env"), str(script), str(requirements)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=os.environ | {"NAP": nap})

    killed = start("600")
    wait_for(log.exists)
    others = [start("1") for _ in range(2)]
    for each in others:
        assert each.stdout is not None
        assert each.stdout.readline() == "another run is at it\n"
    killed.kill()
    killed.wait()
    assert [each.wait(60) for each in others] == [0, 0]
    first, second = map(int, log.read_text().split())
    assert second != first
    psutil.Process(first).kill()  # what it had started, where it was
    for each in (killed, *others):
        each.communicate()


def test_a_failed_install_is_tried_again(tmp_path: Path) -> None:
    script, requirements = tmp_path / "install.sh", tmp_path / "requirements"
    requirements.mkdir()
    script.write_text("echo no such wheel; exit 3\n")
    for _ in range(2):
        with pytest.raises(environments.InstallFailed) as caught:
            environments.ensure(tmp_path / "env", script, requirements, lambda _: None)
        assert (caught.value.status, caught.value.output) == (3, "no such wheel\n")


# The Docker SDK leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_runtime_is_docker_only_where_an_engine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    kind, why = runtimes.choose("auto")
    assert kind == "local"
    assert why.startswith("no container engine answers (")
    assert runtimes.choose("local") == ("local", "asked for")
    with pytest.raises(CannotJudge, match=r"no container engine answers: .*; start one, or run with --runtime local"):
        runtimes.choose("docker")
    gc.collect()


def test_servers_inherit_names_on_a_list_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HOME", "/home/somebody")
    found = processes.environment({"VLLM_X": "1"})
    assert found["HOME"] == "/home/somebody"
    assert found["VLLM_X"] == "1"
    assert not {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY"} & found.keys()


def test_output_of_a_program_and_its_last_line() -> None:
    seen: list[str] = []
    status, output = processes.run(["sh", "-c", "echo one; sleep 1.2; echo two >&2; exit 5"], on_tick=seen.append)
    assert (status, output) == (5, "one\ntwo\n")
    assert seen[0] == "one"
    assert "two" in seen


def test_load_stops_at_once_when_the_watch_says_so(listener: socket.socket) -> None:
    replies: list[concurrent_requests.Reply] = []
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/completions"
    calls = [concurrent_requests.Call(str(number), url, {}) for number in range(10)]
    with pytest.raises(concurrent_requests.Aborted, match="the server died"):
        concurrent_requests.send(
            calls,
            concurrency=2,
            timeout=600,
            watch=lambda: "the server died",
            on_reply=replies.append,
        )
    assert replies == []


def test_a_request_without_an_answer_ends_at_its_deadline(listener: socket.socket) -> None:
    replies: list[concurrent_requests.Reply] = []
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    calls = [concurrent_requests.Call(str(number), url, {}) for number in range(3)]
    concurrent_requests.send(calls, concurrency=3, timeout=0.3, watch=lambda: "", on_reply=replies.append)
    assert {reply.error for reply in replies} == {"no answer within 0.3 s"}
    assert {reply.status for reply in replies} == {0}


def test_servers_inherit_what_the_host_is_and_in_an_image_of_ours_what_the_image_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UCX_TLS", "tcp")
    monkeypatch.setenv("HSA_NO_SCRATCH_RECLAIM", "1")
    outside = processes.environment({"OWN": "1"})
    assert (outside["UCX_TLS"], outside["OWN"]) == ("tcp", "1")
    assert "HSA_NO_SCRATCH_RECLAIM" not in outside
    monkeypatch.setenv("INFERENCE_HARNESS_IMAGE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    inside = processes.environment({})
    assert inside["HSA_NO_SCRATCH_RECLAIM"] == "1"
    assert "HF_TOKEN" not in inside
