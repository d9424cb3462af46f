"""Devices, groups, shared memory and mounts really arrive in a container, and nothing else does."""

from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

import docker
from harness.base.domain import Device, Stage
from harness.base.errors import CannotJudge
from harness.cases.load import load
from harness.containers import client as container_engine
from harness.containers import lifecycle, passthrough
from harness.containers.passthrough import Engine, Passthrough
from harness.devices import amdgpu
from harness.host.ownership import Label, Owner
from harness.images import base_images, engine_image
from harness.plan.points import everything
from harness.run import occupancy, prepare, runtimes
from harness.run.console import Console
from harness.run.context import Context
from harness.run.judge import judge
from harness.run.model_sources import mounted
from harness.run.progress import Progress
from harness.run.rundir import Checkpoint, Occupancy, RunDir, Runtime, Servers
from tests.cpu.conftest import SINGLE, WITH_DOCKER, foreign_files, ours_in
from tests.fake.conftest import DISAGG, QUICK, SMALL
from tests.fake.test_passthrough import unprivileged
from tests.fake.test_secrets import PLANTED, planted_in
from tests.fake_engine.install import SITE
from tests.helpers import REPOSITORY, command, edited, environment, harness, in_hub_cache, wait_for

KFD_GROUP, RENDER_GROUP = 4242, 4243
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can make device nodes")


@pytest.fixture(scope="session")
def base(image_options: list[str]) -> str:
    """Name of our image."""
    return harness("build", *image_options, env=WITH_DOCKER).stdout.split()[-2]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Four render nodes and the driver's own, made in a folder below /dev: each is /dev/null under another name."""
    folder = Path(tempfile.mkdtemp(prefix="inference-harness-", dir="/dev"))

    def make(name: str, group: int) -> str:
        path = folder / name
        os.mknod(path, stat.S_IFCHR | 0o660, os.makedev(1, 3))
        os.chown(path, 0, group)
        path.chmod(0o660)
        return str(path)

    monkeypatch.setattr(amdgpu, "KFD", Path(make("kfd", KFD_GROUP)))
    yield [make(f"renderD{128 + index}", RENDER_GROUP) for index in range(4)]
    shutil.rmtree(folder)


def amd(nodes: Sequence[str]) -> list[Device]:
    return [Device(str(index), uuid=f"0000:{index}", nodes=(node,)) for index, node in enumerate(nodes)]


class Started:
    """An idle container that runs as somebody without privileges."""

    def __init__(self, image_name: str, folder: Path, devices: Passthrough, **options: Any) -> None:
        self.folder = folder / "run"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        arguments: dict[str, Any] = {
            "name": f"inference-harness-test-{os.getpid()}",
            "label": Label("test", str(self.folder), Owner.me().text),
            "folder": self.folder,
            "read_only": [],
            "user": (2000, 2000),
            "shm_bytes": 1 << 28,
        }
        self.id = lifecycle.start(image_name, devices=devices, **arguments | options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        lifecycle.remove(self.id)

    def run(self, script: str) -> list[str]:
        """Output of a shell script in the container, errors included."""
        output = self.folder / "output"
        lifecycle.execute(self.id, ["sh", "-c", f'({script}) >"{output}" 2>&1'], lambda: None)
        return output.read_text().splitlines()

    @property
    def host_config(self) -> dict[str, Any]:
        return dict(inspected(self.id)["HostConfig"])


def inspected(container: str) -> dict[str, Any]:
    client = docker.from_env()
    try:
        return dict(client.api.inspect_container(container))
    finally:
        client.close()


@needs_root
@pytest.mark.parametrize("count", [1, 4])
def test_nodes_and_groups_arrive_and_no_others(base: str, nodes: list[str], tmp_path: Path, count: int) -> None:
    planned = passthrough.plan("rocm", amd(nodes[:count]), container_engine.engine())
    if planned.cdi:
        pytest.skip("this host has real AMD devices with CDI")
    folder = Path(nodes[0]).parent
    with Started(base, tmp_path, planned) as container:
        assert container.run(f"ls {folder}") == sorted(["kfd", *(Path(node).name for node in nodes[:count])])
        for node in nodes[:count]:
            assert container.run(f"cat {node} && echo >{node} && echo opened") == ["opened"]
        assert container.run("id -G") == [f"2000 {KFD_GROUP} {RENDER_GROUP}"]
        plain = {"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm"}
        plain |= {"stderr", "stdin", "stdout", "tty", "urandom", "zero"}
        assert set(container.run("ls /dev")) - plain == {folder.name}
        found = container.host_config
    unprivileged(found | {"ShmSize": 1 << 30})
    assert found["SecurityOpt"] == ["no-new-privileges"]
    assert [each["PathOnHost"] for each in found["Devices"]] == list(planned.nodes)


@needs_root
def test_a_node_is_closed_to_who_has_not_its_group(base: str, nodes: list[str], tmp_path: Path) -> None:
    without = Passthrough(nodes=(nodes[0],))
    with Started(base, tmp_path, without) as container:
        assert "Permission denied" in container.run(f"cat {nodes[0]}")[0]


def test_shared_memory_and_filter_are_as_asked(base: str, tmp_path: Path) -> None:
    status_lines = "grep -E '^(Seccomp|NoNewPrivs|CapBnd|CapEff):' /proc/self/status"
    with Started(base, tmp_path, Passthrough(), shm_bytes=300 << 20) as container:
        size, *status = container.run(f"df --output=size -B1 /dev/shm | tail -n 1; {status_lines}")
        assert int(size) == 300 << 20
        found = {line.split(":")[0]: line.split()[1] for line in status}
        assert found == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}
        assert container.run("env | grep VISIBLE | sort") == ["AMD_VISIBLE_DEVICES=void", "NVIDIA_VISIBLE_DEVICES=void"]
    shutil.rmtree(tmp_path / "run")
    with Started(base, tmp_path, Passthrough(), seccomp=False) as container:
        assert "Seccomp:\t0" in container.run("cat /proc/self/status")
        assert container.host_config["CapDrop"] == ["ALL"]


def test_an_image_that_wants_all_devices_gets_none_that_are_not_passed(base: str, tmp_path: Path) -> None:
    """CUDA's base images set this, and an engine whose default runtime is NVIDIA's would follow it."""
    name = "inference-harness-test/wants-all:latest"
    dockerfile = f"FROM {base}\nENV NVIDIA_VISIBLE_DEVICES=all AMD_VISIBLE_DEVICES=all\n"
    client = docker.from_env()
    try:
        client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=name, rm=True)
        with Started(name, tmp_path, Passthrough()) as container:
            set_to = inspected(container.id)["Config"]["Env"]
        client.images.remove(name)
    finally:
        client.close()
    assert sorted(each for each in set_to if "VISIBLE" in each) == [
        "AMD_VISIBLE_DEVICES=void",
        "NVIDIA_VISIBLE_DEVICES=void",
    ]


def test_memory_may_be_locked_where_asked(base: str, tmp_path: Path) -> None:
    try:
        with Started(base, tmp_path, Passthrough(), memlock=False) as container:
            assert container.run("ulimit -l") == ["unlimited"]
    except lifecycle.ContainerFailed as error:
        if "rlimit" not in str(error):
            raise
        pytest.skip(f"the container engine here may not raise limits itself: {error}")


def test_what_ran_in_a_container_that_is_removed_did_not_just_end(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is killed first, and the engine may say for a moment that its container still runs."""
    find = lifecycle._find
    with Started(base, tmp_path, Passthrough()) as container, closing(docker.from_env()) as client:
        late = [client.containers.get(container.id)]
        monkeypatch.setattr(lifecycle, "_find", lambda *asked: late.pop() if late else find(*asked))
        removing = threading.Timer(1.0, client.api.remove_container, [container.id], {"force": True})
        removing.start()
        with pytest.raises(lifecycle.ContainerFailed, match="ended while a stage ran in it"):
            lifecycle.execute(container.id, ["sleep", "60"], lambda: None)
        removing.join()
        assert not late


def test_what_is_killed_in_a_container_that_lives_on_has_its_status(base: str, tmp_path: Path) -> None:
    with Started(base, tmp_path, Passthrough()) as container:
        assert lifecycle.execute(container.id, ["sh", "-c", "kill -KILL $$"], lambda: None) == 128 + signal.SIGKILL


@pytest.fixture
def context(base: str, tmp_path: Path) -> Iterator[Context]:
    """A case whose container runs, with nothing in it yet."""
    planned = next(each for each in everything(load(REPOSITORY / "baselines")) if each.id == SINGLE)
    rundir = prepare.create(planned, tmp_path / "run")
    with runtimes.container(rundir, base, []) as started:
        runtime = Runtime(kind="docker", why="", engine_python="", environment="", container=started)
        rundir.save(rundir.prepared().model_copy(update={"runtime": runtime}))
        yield Context(rundir, Progress(rundir, lambda _: None))


def broken(context: Context, stage: Stage) -> str:
    """How a stage in its container broke, which is on record."""
    with pytest.raises(CannotJudge) as error:
        runtimes.of(context.runtime, Console()).perform(stage, context)
    assert [(each.stage, each.message) for each in context.rundir.stages()] == [(stage, str(error.value))]
    return str(error.value)


def test_an_engine_that_does_not_answer_in_the_end_is_on_record_and_the_container_gone(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: str) -> bool:
        raise lifecycle.ContainerFailed("read timed out")

    monkeypatch.setattr(lifecycle, "is_running", silent)
    assert broken(context, Stage.STOP) == "read timed out"
    assert ours_in(tmp_path) == []
    assert foreign_files(tmp_path) == []


def test_a_stage_killed_in_its_container_is_on_record_with_what_it_printed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_image, "HARNESS", "sh -c 'echo something; kill -KILL $$'")
    log = context.rundir.log("harness-health-wait")
    said = broken(context, Stage.HEALTH_WAIT)
    assert said == f"health-wait ended with status 137 and said nothing; its output: {log}"
    assert log.read_text() == "something\n"


def test_a_stage_killed_before_it_could_print_points_at_no_output_not_even_an_earlier_ones(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = lifecycle.execute
    killed = ["sh", "-c", "kill -KILL $$"]
    monkeypatch.setattr(lifecycle, "execute", lambda where, _, on_tick, **more: execute(where, killed, on_tick, **more))
    context.rundir.log("harness-health-wait").write_text("of an earlier attempt")
    assert broken(context, Stage.HEALTH_WAIT) == "health-wait ended with status 137 and said nothing"


def test_a_model_of_the_hubs_cache_is_whole_and_read_only(base: str, tmp_path: Path) -> None:
    commit = "1" * 40
    in_hub_cache(tmp_path / "hub", "some/model", commit, {"config.json": b"{}", "model.safetensors": b"weights"})
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / commit
    checkpoint = Checkpoint(path=str(snapshot), revision=commit)
    with Started(base, tmp_path, Passthrough(), read_only=[checkpoint.whole]) as container:
        assert container.run(f"cat {snapshot}/config.json {snapshot}/model.safetensors") == ["{}weights"]
        assert "Read-only file system" in container.run(f"echo >{snapshot}/config.json")[0]
        assert container.run(f"ls {tmp_path}/hub") == ["models--some--model"]


def test_a_folder_of_the_users_is_whole_and_read_only_wherever_its_links_lead(base: str, tmp_path: Path) -> None:
    folder, store = tmp_path / "our model, v2", tmp_path / "elsewhere" / "store"
    folder.mkdir()
    store.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (store / "0abc").write_bytes(b"weights")
    (tmp_path / "elsewhere" / "link").symlink_to("store/0abc")
    (folder / "model.safetensors").symlink_to("../elsewhere/link")
    mounts = mounted([Checkpoint(path=str(folder), is_own=True)] * 2)
    with Started(base, tmp_path, Passthrough(), read_only=mounts) as container:
        assert container.run(f"cat '{folder}/config.json' '{folder}/model.safetensors'") == ["{}weights"]
        assert "Read-only file system" in container.run(f"echo >'{folder}/config.json'")[0]
        assert "Read-only file system" in container.run(f"echo >'{folder}/model.safetensors'")[0]


def test_a_real_engine_without_the_driver_refuses_in_one_line(base: str, tmp_path: Path) -> None:
    device = Device("0", uuid="GPU-none-of-this-host")
    planned = passthrough.plan("cuda", [device], Engine("Docker", "20.10"))
    with pytest.raises(lifecycle.ContainerFailed) as caught, Started(base, tmp_path, planned):
        pass
    assert "\n" not in str(caught.value)
    assert "with `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`, or run with --runtime local" in str(
        caught.value
    )
    assert ours_in(tmp_path) == []


@pytest.fixture(scope="module")
def fake_image(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Our image with the scripted engine beside the real one: its name, and the interpreter to call."""
    context, name = tmp_path_factory.mktemp("image"), "inference-harness-test/fake:latest"
    shutil.copytree(SITE, context / "site", ignore=shutil.ignore_patterns("__pycache__"))
    (context / "faults.json").write_text("{}")
    (context / "python").write_text(
        "#!/bin/sh\nexport PYTHONPATH=/opt/fake/site FAKE_ENGINE_SCRIPT=/opt/fake/faults.json\n"
        'exec /opt/harness/bin/python "$@"\n'
    )
    (context / "python").chmod(0o755)
    (context / "Dockerfile").write_text(f"FROM {base}\nCOPY site /opt/fake/site\nCOPY python faults.json /opt/fake/\n")
    client = docker.from_env(timeout=300)
    try:
        client.images.build(path=str(context), tag=name, rm=True)
        yield name, "/opt/fake/python"
        client.images.remove(name)
    finally:
        client.close()


@needs_root
def test_a_run_on_two_amd_devices_sees_these_two_and_no_secret(
    fake_image: tuple[str, str], nodes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, python = fake_image

    def leased(context: Context, *_: float, **__: bool) -> list[Device]:
        context.rundir.write("devices", Occupancy, Occupancy(before={each.uuid: None for each in amd(nodes)[2:]}))
        return amd(nodes)[2:]

    for variable, value in PLANTED.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_image, "ensure", lambda *_: (name, "sha256:fake"))
    monkeypatch.setattr(engine_image, "ENGINE_PYTHON", python)
    monkeypatch.setattr(base_images, "content", lambda _: "a base")
    monkeypatch.setattr(occupancy, "visible", lambda _: amd(nodes)[2:])
    monkeypatch.setattr(occupancy, "lease", leased)
    (planned,) = everything(load(edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK | {"platforms": ["rocm"]})))
    context = Context(prepare.create(planned, tmp_path / "run"), Progress(RunDir(tmp_path / "run"), lambda _: None))
    prepare.run(context, prepare.Options(runtime="docker"))
    place = runtimes.of(context.runtime, Console())
    try:
        for stage in (Stage.SERVE, Stage.HEALTH_WAIT, Stage.EVAL):
            place.perform(stage, context)
        found = inspected(context.runtime.container)
        inside = [psutil.Process(int(row[1])) for row in top(context.runtime.container)]
        assert len(inside) > 3
        (kept,) = (tmp_path / "cache" / "inference-harness" / "compiled").iterdir()
        lifecycle.execute(context.runtime.container, ["sh", "-c", 'touch "$HOME/kernel"'], lambda: None)
        assert (kept / "kernel").stat().st_uid == engine_image.USER[0]
        assert {process.environ()["HOME"] for process in inside if "HOME" in process.environ()} == {str(kept)}
        for process in inside:
            assert not set(PLANTED) & set(process.environ())
            assert not [each for each in process.cmdline() if any(value in each for value in PLANTED.values())]
    finally:
        place.perform(Stage.STOP, context)
    result = judge(context.rundir)
    assert result.exit_code == 0, result
    servers = context.rundir.read("servers", Servers)
    assert servers is not None
    given = {each.server.name: each.server.env.get("HIP_VISIBLE_DEVICES") for each in servers.servers}
    assert given == {"prefill": "0", "decode": "1", "router": None}
    assert [each["PathInContainer"] for each in found["HostConfig"]["Devices"]] == [
        str(Path(nodes[0]).with_name("kfd")), nodes[2], nodes[3],
    ]  # fmt: skip
    assert found["HostConfig"]["GroupAdd"] == [str(KFD_GROUP), str(RENDER_GROUP)]
    assert f"device nodes: {Path(nodes[0]).with_name('kfd')}, {nodes[2]}, {nodes[3]}" in context.runtime.passthrough
    assert result.provenance["runtime.passthrough"] == context.runtime.passthrough
    assert context.runtime.passthrough in context.rundir.events_file.read_text()
    assert not any(value in str(found) for value in PLANTED.values())
    assert not any(value in history(name) for value in PLANTED.values())
    assert planted_in(tmp_path) == []
    assert foreign_files(tmp_path / "run") == []


def top(container: str) -> list[list[str]]:
    client = docker.from_env()
    try:
        return list(client.api.top(container)["Processes"])
    finally:
        client.close()


def history(name: str) -> str:
    """How an image was made, and its configuration."""
    client = docker.from_env()
    try:
        found = client.images.get(name)
        return f"{found.history()} {found.attrs}"
    finally:
        client.close()


@pytest.mark.parametrize("when", ["created", "started"])
def test_killed_before_the_container_is_on_record_leaves_what_reap_finds(base: str, tmp_path: Path, when: str) -> None:
    """The container is there, and ``case.json`` does not name it yet: the label does."""
    process = psutil.Popen(
        [command()[0], "-c", _KILLED, str(tmp_path / "run"), base, when], env=environment(WITH_DOCKER), cwd=REPOSITORY
    )
    (container,) = wait_for(lambda: ours_in(tmp_path))
    assert process.wait(timeout=30) == -signal.SIGKILL
    assert RunDir(tmp_path / "run").prepared().runtime is None
    done = harness("reap", "--runs", tmp_path, env=WITH_DOCKER)
    assert f"removed: container {container.id[:12]} of {tmp_path / 'run'}" in done.stdout
    assert ours_in(tmp_path) == []


def test_the_container_of_a_harness_that_cannot_be_seen_is_left_alone(base: str, tmp_path: Path) -> None:
    """As where runners in containers share one engine: neither the pid nor the run directory is known here."""
    label = Label("test", str(tmp_path / "not" / "here"), replace(Owner.me(), namespace="pid:[1]").text)
    with Started(base, tmp_path, Passthrough(), label=label) as container:
        done = harness("reap", "--runs", tmp_path, env=WITH_DOCKER)
        assert done.returncode == 0, done.stderr
        assert f"left alone: container {container.id[:12]} of {label.folder}: " in done.stdout
        assert f"once it is gone: docker rm --force {container.id[:12]}\n" in done.stdout
        assert lifecycle.is_running(container.id)


_KILLED = """
import os, signal, sys
from pathlib import Path
from docker.models.containers import Container
from harness.containers.passthrough import Passthrough
from harness.cases.load import load
from harness.plan.points import everything
from harness.run import prepare, runtimes
planned = next(each for each in everything(load(Path("baselines"))) if each.id == "eagle3/known_answer")
rundir = prepare.create(planned, Path(sys.argv[1]))
if sys.argv[3] == "created":
    Container.start = lambda _: os.kill(os.getpid(), signal.SIGKILL)
runtimes.start_container(rundir, sys.argv[2], [], Passthrough())
os.kill(os.getpid(), signal.SIGKILL)
"""
