"""What the container engine is asked for, on hosts with NVIDIA's and AMD's devices, with CDI and without."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.base.domain import Device, Platform
from harness.base.errors import CannotJudge
from harness.cases.load import load
from harness.containers import cdi, client, lifecycle, passthrough
from harness.containers.passthrough import Engine, Impossible
from harness.devices import amdgpu
from harness.host.ownership import Label
from harness.plan.points import everything
from harness.run import prepare, runtimes
from tests.fake.engine_api import EngineApi, serving
from tests.helpers import BASELINES

GROUP = 4242 if os.getuid() == 0 else os.getgid()


class Host:
    """A host with eight GPUs, of which the last NVIDIA one is cut into slices; device nodes are plain files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cdi = folder, folder / "cdi"
        self.cdi.mkdir()
        self.kfd = self._node("kfd")
        self.render = [self._node(f"renderD{128 + index}") for index in range(8)]

    def _node(self, name: str) -> str:
        path = self.folder / name
        path.touch()
        if os.getuid() == 0:
            os.chown(path, 0, GROUP)
        path.chmod(0o660)
        return str(path)

    def devices(self, what: str, count: int) -> list[Device]:
        if what == "slice":
            return [Device(f"MIG-{index}", uuid=f"MIG-{index}", whole="GPU-7") for index in range(count)]
        if what == "cuda":
            return [Device(str(index), uuid=f"GPU-{index}") for index in range(count)]
        return [Device(str(index), uuid=f"0000:{index}", nodes=(self.render[index],)) for index in range(count)]

    def spec(self, name: str, kind: str, nodes: dict[str, list[str]]) -> None:
        """Write a CDI spec of devices and their nodes."""
        devices = [
            {"name": device, "containerEdits": {"deviceNodes": [{"path": path} for path in paths]}}
            for device, paths in nodes.items()
        ]
        (self.cdi / name).write_text(json.dumps({"cdiVersion": "0.6.0", "kind": kind, "devices": devices}))

    def specs(self) -> None:
        """Both vendors' specs, as their tools write them."""
        nvidia = {name: [f"/dev/nvidia{index}"] for index in range(8) for name in (str(index), f"GPU-{index}")}
        slices = {name: ["/dev/nvidia7"] for index in range(4) for name in (f"7:{index}", f"MIG-{index}")}
        self.spec("nvidia.json", "nvidia.com/gpu", nvidia | slices | {"all": ["/dev/nvidia0"]})
        # In another order than the harness's own: what counts is the render node.
        amd = {str(index): [node, self.kfd] for index, node in enumerate(reversed(self.render))}
        self.spec("amd.json", "amd.com/gpu", amd | {"all": [*self.render, self.kfd]})


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(amdgpu, "KFD", Path(made.kfd))
    monkeypatch.setattr(passthrough, "_INFINIBAND", tmp_path / "infiniband")
    return made


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineApi]:
    made = EngineApi()
    with serving(made, tmp_path / "engine.sock") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        yield made


def start(host: Host, platform: Platform, devices: list[Device], **options: Any) -> str:
    planned = passthrough.plan(platform, devices, client.engine())
    return lifecycle.start(
        "image",
        name="name",
        label=Label("run", str(host.folder), ""),
        folder=host.folder,
        read_only=[],
        user=(2000, 2000),
        shm_bytes=1 << 30,
        devices=planned,
        **options,
    )


@pytest.mark.parametrize("engine", ["with CDI", "without CDI"])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("what", ["cuda", "slice", "rocm"])
def test_exactly_the_named_devices_are_asked_for(
    host: Host, api: EngineApi, what: str, count: int, engine: str
) -> None:
    host.specs()
    with_cdi = engine == "with CDI"
    api.info = {"CDISpecDirs": [str(host.cdi)] if with_cdi else []}
    devices = host.devices(what, count)
    start(host, "rocm" if what == "rocm" else "cuda", devices)
    (asked,) = api.created
    config = asked["HostConfig"]
    ids = [each.uuid for each in devices]
    variables = {"NVIDIA_VISIBLE_DEVICES": "void", "AMD_VISIBLE_DEVICES": "void"}
    requests: list[dict[str, Any]] = []
    nodes: list[str] = []
    if with_cdi:
        names = [f"amd.com/gpu={7 - index}" for index in range(count)]
        names = names if what == "rocm" else [f"nvidia.com/gpu={name}" for name in ids]
        requests = [{"Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": [], "Options": {}}]
    elif what == "rocm":
        nodes = [host.kfd, *host.render[:count]]
    else:
        capabilities = [["gpu", "compute", "utility"]]
        requests = [{"Driver": "", "Count": 0, "DeviceIDs": ids, "Capabilities": capabilities, "Options": {}}]
        variables["NVIDIA_VISIBLE_DEVICES"] = ",".join(ids)
    assert (config.get("DeviceRequests") or []) == requests
    assert [each["PathOnHost"] for each in config.get("Devices") or []] == nodes
    assert [each["PathInContainer"] for each in config.get("Devices") or []] == nodes
    assert {each["CgroupPermissions"] for each in config.get("Devices") or []} <= {"rw"}
    assert (config.get("GroupAdd") or []) == ([str(GROUP)] if what == "rocm" else [])
    assert sorted(asked["Env"]) == sorted(f"{name}={value}" for name, value in variables.items())
    unprivileged(config)
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert not config.get("Ulimits")
    assert '"all"' not in json.dumps(asked)


def test_what_the_host_says_of_multicast_holds_inside_too(
    host: Host, api: EngineApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    monkeypatch.setenv("NVSHMEM_DISABLE_NVLS", "0")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "eth0")
    start(host, "cuda", host.devices("cuda", 1))
    (asked,) = api.created
    assert [each for each in asked["Env"] if "VISIBLE" not in each] == ["NCCL_NVLS_ENABLE=0"]


def unprivileged(config: dict[str, Any]) -> None:
    assert not config.get("Privileged")
    assert config["CapDrop"] == ["ALL"]
    assert config.get("CapAdd") is None
    assert config["IpcMode"] == "private"
    assert config["NetworkMode"] == "none"
    assert not config.get("PidMode")
    assert config["ReadonlyRootfs"] is True
    assert config["ShmSize"] == 1 << 30


def test_a_device_in_no_spec_is_passed_the_older_way_and_that_is_said(host: Host) -> None:
    host.spec("nvidia.json", "nvidia.com/gpu", {"GPU-0": ["/dev/nvidia0"], "all": ["/dev/nvidia0"]})
    engine = Engine("Docker", "28.3.0", (host.cdi,))
    planned = passthrough.plan("cuda", host.devices("cuda", 2), engine)
    assert planned.cdi == ()
    assert planned.gpus == ("GPU-0", "GPU-1")
    assert planned.how == f"device request: GPU-0, GPU-1; no CDI spec in {host.cdi} has GPU-1"


def test_a_spec_of_indices_is_good_for_whole_devices_only(host: Host) -> None:
    host.spec("nvidia.json", "nvidia.com/gpu", {"0": ["/dev/nvidia0"]})
    engine = Engine("Docker", "28.3.0", (host.cdi,))
    assert passthrough.plan("cuda", [Device("0", uuid="GPU-0")], engine).cdi == ("nvidia.com/gpu=0",)
    assert passthrough.plan("cuda", [Device("0", uuid="MIG-0", whole="GPU-0")], engine).gpus == ("MIG-0",)


def test_a_spec_whose_device_is_more_than_the_one_wanted_is_not_used(host: Host) -> None:
    host.spec("amd.json", "amd.com/gpu", {"0": [*host.render[:2], host.kfd]})
    planned = passthrough.plan("rocm", host.devices("rocm", 1), Engine("Docker", "28.3.0", (host.cdi,)))
    assert planned.cdi == ()
    assert planned.nodes == (host.kfd, host.render[0])


def test_specs_are_read_as_the_engines_read_them(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (first / "a.yaml").write_text(
        "kind: amd.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    deviceNodes:\n"
        "    - {path: /dev/dri/renderD128, hostPath: /host/renderD128}\n- name: '1'\n- name: twice\n"
    )
    (first / "b.json").write_text('{"kind": "amd.com/gpu", "devices": [{"name": "twice"}]}')
    (first / "broken.json").write_text("{")
    (first / "half.yaml").write_text("kind: amd.com/gpu\ndevices: 3\n")
    (first / "ignored.txt").write_text('{"kind": "amd.com/gpu", "devices": [{"name": "9"}]}')
    (second / "c.json").write_text(
        '{"kind": "amd.com/gpu", "devices": [{"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/x"}]}}]}'
    )
    assert cdi.devices([first, second, tmp_path / "missing"]) == {
        "amd.com/gpu=0": ("/host/renderD128",),
        "amd.com/gpu=1": ("/dev/x",),
    }


@pytest.mark.parametrize(
    ("version", "component", "has_cdi"),
    [("28.3.0", "Engine", False), ("4.9.3", "Podman Engine", False), ("5.4.2", "Podman Engine", True)],
)
def test_podman_says_nothing_of_cdi_and_has_it_since_5_4(
    api: EngineApi, version: str, component: str, has_cdi: bool
) -> None:
    api.version, api.component = version, component
    assert client.engine().cdi == (cdi.FOLDERS if has_cdi else ())


def test_podman_without_cdi_would_start_without_the_device_so_it_is_not_asked(host: Host) -> None:
    with pytest.raises(Impossible, match=r"by CDI alone, and Podman 4\.9\.3 has no CDI; write a CDI spec with `nvidia"):
        passthrough.plan("cuda", host.devices("cuda", 1), Engine("Podman", "4.9.3"))
    assert passthrough.plan("rocm", host.devices("rocm", 1), Engine("Podman", "4.9.3")).nodes


def test_an_amd_device_without_its_node_is_one_line(host: Host) -> None:
    engine = Engine("Docker", "20.10")
    with pytest.raises(Impossible, match="device 3 has no render node here"):
        passthrough.plan("rocm", [Device("3", uuid="0000:3")], engine)
    Path(host.render[1]).unlink()
    with pytest.raises(Impossible, match=r"renderD129 is not there; is the amdgpu driver loaded\?"):
        passthrough.plan("rocm", host.devices("rocm", 2), engine)


def test_infiniband_is_passed_where_it_is_asked_for_and_there(host: Host) -> None:
    engine, devices = Engine("Docker", "20.10"), host.devices("rocm", 1)
    absent = passthrough.plan("rocm", devices, engine, infiniband=True)
    assert absent.nodes == (host.kfd, host.render[0])
    assert absent.how.endswith(f"InfiniBand: asked for, nothing in {host.folder / 'infiniband'}")
    fabric = host.folder / "infiniband"
    fabric.mkdir()
    (fabric / "uverbs0").symlink_to("/dev/null")
    (fabric / "by-ibdev").mkdir()
    assert passthrough.plan("rocm", devices, engine).nodes == (host.kfd, host.render[0])
    there = passthrough.plan("rocm", devices, engine, infiniband=True)
    assert there.nodes == (host.kfd, host.render[0], str(fabric / "uverbs0"))
    assert there.how.endswith(f"InfiniBand: {fabric / 'uverbs0'}")


def test_inside_devices_are_numbered_and_only_several_slices_keep_their_ids(host: Host) -> None:
    assert passthrough.names_inside(host.devices("cuda", 3)) == ["0", "1", "2"]
    assert passthrough.names_inside(host.devices("rocm", 2)) == ["0", "1"]
    assert passthrough.names_inside(host.devices("slice", 1)) == ["0"]
    assert passthrough.names_inside(host.devices("slice", 2)) == ["MIG-0", "MIG-1"]


def test_a_refused_device_is_one_line_with_the_next_step_and_leaves_no_container(host: Host, api: EngineApi) -> None:
    api.refuses = 'could not select device driver "" with capabilities: [[gpu compute utility]]'
    with pytest.raises(lifecycle.ContainerFailed) as caught:
        start(host, "cuda", host.devices("cuda", 1))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{api.refuses}; install nvidia-container-toolkit and restart the engine, ")
    assert api.removed == 1
    api.refuses = "no space left on device"
    with pytest.raises(lifecycle.ContainerFailed, match=r"^no space left on device$"):
        start(host, "cuda", host.devices("cuda", 1))


def test_what_a_case_weakens_carries_its_reason(host: Host, api: EngineApi, tmp_path: Path) -> None:
    planned = next(each for each in everything(load(BASELINES)) if each.id == "eagle3/known_answer")
    rundir = prepare.create(planned, tmp_path / "run")
    extras = {"shm_gib": 0.5, "memlock_unlimited": "RDMA registers the KV cache", "seccomp_unconfined": "x" * 20}
    case = planned.case.model_copy(
        update={"container": type(planned.case.container).model_validate(extras | {"infiniband": True})}
    )
    rundir.save(rundir.prepared().model_copy(update={"case": case}))
    devices = runtimes.plan_devices(case, "cpu", [])
    assert devices.how.startswith("InfiniBand: asked for")
    runtimes.start_container(rundir, "image", [], devices)
    config = api.created[0]["HostConfig"]
    assert config["ShmSize"] == 1 << 29
    assert config["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined"]
    assert config["Ulimits"] == [{"Name": "memlock", "Soft": -1, "Hard": -1}]
    assert config.get("CapAdd") is None
    assert case.container.reasons["memlock unlimited"] == "RDMA registers the KV cache"


def test_a_device_that_cannot_be_passed_is_an_error_of_the_run(host: Host, api: EngineApi) -> None:
    api.version, api.component = "4.3.1", "Podman Engine"
    planned = next(each for each in everything(load(BASELINES)) if each.id == "eagle3/known_answer")
    with pytest.raises(CannotJudge, match="cannot be given its devices: Podman passes NVIDIA devices"):
        runtimes.plan_devices(planned.case, "cuda", host.devices("cuda", 1))


def test_a_container_has_limits(host: Host, api: EngineApi) -> None:
    """A leak of an engine, or a fork bomb, ends in its container; the engine's machine may be another than this."""
    api.info = {"MemTotal": 1000 << 30}
    start(host, "cuda", [])
    start(host, "cuda", [], memory_bytes=7 << 30, pids=100)
    by_default, asked = (each["HostConfig"] for each in api.created)
    assert (by_default["Memory"], by_default["PidsLimit"]) == (900 << 30, 32768)
    assert (asked["Memory"], asked["PidsLimit"]) == (7 << 30, 100)
    api.info = {}
    start(host, "cuda", [])
    assert 0 < api.created[-1]["HostConfig"]["Memory"] < psutil.virtual_memory().total


def test_a_refusal_keeps_its_cause(host: Host, api: EngineApi) -> None:
    api.refuses = (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
        "failed: unable to start container process: error during container init: error running prestart hook #0: exit "
        "status 1, stdout: , stderr: Auto-detected mode as 'legacy'\nnvidia-container-cli: mount error: file "
        "creation failed: /var/lib/docker/overlay2/0a/merged/usr/lib/firmware/nvidia/580.159.04: "
        "read-only file system: unknown"
    )
    with pytest.raises(lifecycle.ContainerFailed) as refused:
        start(host, "cuda", [Device("0", "GPU-0")])
    message = str(refused.value)
    assert "nvidia-container-cli: mount error: file creation failed" in message
    assert "read-only file system: unknown; " in message
    assert message.startswith("failed to create task for container")
    assert "\n" not in message
