"""Accelerators: each server gets its own, and points that need more than there are do not vanish."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.ground.domain import Device, Tenant, Usage
from harness.mechanism import amd, devices, nvidia
from harness.run.rundir import Servers
from tests.fake.conftest import DISAGG, ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia
from tests.fake.hosts import amd as amd_files
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, Run, edited, left_in, run, validated

ALL_REDUCE = "VLLM_FLASHINFER_ALLREDUCE_BACKEND"
ON_GPU: dict[str, Any] = {"platforms": ["cuda"], "serve/tensor_parallel_size": 2}


def run_with(
    folder: Path, changes: dict[str, Any], visible: str, *arguments: str, says: Mapping[str, str] | None = None
) -> Run:
    cases = edited(folder / "cases", DISAGG, SMALL[DISAGG] | QUICK | ON_GPU | changes)
    python = install(folder / "engine", {})
    env = Nvidia(folder / "host", 8).env | {"CUDA_VISIBLE_DEVICES": visible} | dict(says or {})
    done = run(folder, "--cases", cases, "--engine-python", python, *arguments, env=env)
    assert left_in(folder) == []
    return done


def test_visible_devices_are_shared_out_and_never_used_twice(tmp_path: Path) -> None:
    done = run_with(tmp_path, {}, "7,3,GPU-1,0,5")
    assert done.code == 0, done.output
    servers = Servers.model_validate_json((done.directory / "servers.json").read_bytes()).servers
    given = {each.server.name: each.server.env.get("CUDA_VISIBLE_DEVICES") for each in servers}
    assert given == {"prefill": "7,3", "decode": "GPU-1,0", "router": None}


@pytest.mark.parametrize(
    ("says", "of_case", "chosen"),
    [
        ({}, {}, None),
        ({"TORCH_SYMM_MEM_DISABLE_MULTICAST": "1"}, {}, "trtllm"),
        ({"TORCH_SYMM_MEM_DISABLE_MULTICAST": "1"}, {f"serve/env/{ALL_REDUCE}": "mnnvl"}, "mnnvl"),
        ({"NCCL_NVLS_ENABLE": "0"}, {}, None),
    ],
)
def test_a_host_without_multicast_is_no_place_for_the_all_reduce_that_needs_it(
    tmp_path: Path, says: dict[str, str], of_case: dict[str, str], chosen: str | None
) -> None:
    done = run_with(tmp_path, of_case, "0,1,2,3", says=says)
    assert done.code == 0, done.output
    servers = Servers.model_validate_json((done.directory / "servers.json").read_bytes()).servers
    given = {each.server.name: each.server.env.get(ALL_REDUCE) for each in servers}
    assert given == {"prefill": chosen, "decode": chosen, "router": None}


def test_too_few_devices_are_an_error_with_both_numbers(tmp_path: Path) -> None:
    done = run_with(tmp_path, {}, "0,1,2")
    assert done.code == 4
    assert done.errors == {"prepare": "needs 4 cuda devices, there are 3"}
    assert not (done.directory / "servers.json").exists()


def test_a_device_that_is_too_small_is_not_used(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 4)
    for gpu in (host.gpus[0], host.gpus[3]):
        gpu["total"] = 24 << 30
    host.write()
    changes = SMALL[ONE_POINT] | QUICK | {"platforms": ["cuda"], "device_memory_gib": 32}
    python = install(tmp_path / "engine", {})
    cases = edited(tmp_path / "cases", ONE_POINT, changes | {"serve/tensor_parallel_size": 2})
    done = run(tmp_path, "--cases", cases, "--engine-python", python, env=host.env)
    assert done.code == 0, done.output
    servers = Servers.model_validate_json((done.directory / "servers.json").read_bytes()).servers
    assert servers[0].server.env["CUDA_VISIBLE_DEVICES"] == "1,2"
    cases = edited(tmp_path / "more", ONE_POINT, changes | {"serve/tensor_parallel_size": 3})
    done = run(tmp_path / "again", "--cases", cases, "--engine-python", python, env=host.env)
    assert done.code == 4
    assert done.errors == {"prepare": "device 0 has 24 GiB, the case needs 32"}


def test_points_that_need_more_than_allowed_are_skipped_and_reported(tmp_path: Path) -> None:
    axis = {"1": {"serve": {"tensor_parallel_size": 1}}, "4": {"serve": {"tensor_parallel_size": 4}}}
    done = run_with(tmp_path, {"matrix": {"tp": axis}}, "0,1", "--devices", "2")
    assert done.code == 0, done.output
    document = validated(done.runs / "junit.xml")
    skipped = {case.get("classname"): case.find("skipped") for case in document.iter("testcase")}
    reasons = {name: found.get("message") for name, found in skipped.items() if found is not None}
    assert reasons == {"disagg.cuda.known_answer_eagle3[tp=4]": "needs 8 devices, there are 2"}
    assert [path.parent.name for path in done.runs.glob("*/case.json")] == ["disagg.known_answer_eagle3.tp=1"]


def test_the_first_variable_that_is_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert devices.variable("rocm") == "HIP_VISIBLE_DEVICES"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "2, 4")
    assert devices.variable("rocm") == "ROCR_VISIBLE_DEVICES"
    assert [each.name for each in devices.visible("rocm")] == ["2", "4"]
    assert [each.name for each in devices.visible("cuda")] == ["5"]
    assert devices.visible("cpu") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.visible("cuda") == []


@pytest.fixture
def nvidia_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nvidia:
    """A host whose driver this very process asks."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    host = Nvidia(tmp_path / "host", 2)
    monkeypatch.setenv("FAKE_NVML", str(host.path))
    monkeypatch.setattr(nvidia, "pynvml", imported())
    return host


def imported() -> ModuleType:
    source = REPOSITORY / "tests" / "fake_nvml" / "pynvml.py"
    spec = importlib.util.spec_from_file_location("fake_pynvml", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nvidia_devices_are_listed(nvidia_host: Nvidia) -> None:
    found = devices.visible("cuda")
    assert [(each.name, each.uuid, each.product) for each in found] == [
        ("0", "GPU-0aaa", "NVIDIA H200"),
        ("1", "GPU-1aaa", "NVIDIA H200"),
    ]
    assert found[0].memory_bytes == 150754820096
    assert devices.hardware("cuda") == {"devices": "2 x NVIDIA H200", "driver": "580.159.04"}
    assert devices.hardware("cpu") == {}
    assert devices.usage("cuda", found[0]) == Usage(0)


def test_without_a_driver_there_is_nothing(nvidia_host: Nvidia) -> None:
    nvidia_host.driver = ""
    nvidia_host.write()
    assert devices.visible("cuda") == []
    assert devices.hardware("cuda") == {}
    assert devices.usage("cuda", Device("0", "GPU-0aaa")) is None


def test_slices_are_devices(nvidia_host: Nvidia) -> None:
    nvidia_host.gpus[0]["slices"] = [
        {"uuid": f"MIG-{number}", "name": "NVIDIA H200 MIG 1g.18gb", "total": 18 << 30} for number in range(2)
    ]
    nvidia_host.write()
    found = devices.visible("cuda")
    assert [(each.name, each.whole) for each in found] == [("MIG-0", "GPU-0aaa"), ("MIG-1", "GPU-0aaa"), ("1", "")]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("1", [("1", "GPU-1aaa")]),
        ("1,0", [("1", "GPU-1aaa"), ("0", "GPU-0aaa")]),
        ("GPU-1", [("GPU-1", "GPU-1aaa")]),
        ("", []),
    ],
)
def test_the_environment_chooses(
    nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch, given: str, found: list[tuple[str, str]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert [(each.name, each.uuid) for each in devices.visible("cuda")] == found


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("2", "CUDA_VISIBLE_DEVICES names device 2, and the driver shows 2"),
        ("GPU-x", "CUDA_VISIBLE_DEVICES names GPU-x, and no device has a UUID that begins so"),
        ("GPU-", "CUDA_VISIBLE_DEVICES names GPU-, and more than one device has a UUID that begins so"),
    ],
)
def test_what_is_not_there_is_named(
    nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch, given: str, problem: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    with pytest.raises(devices.NoSuchDevice, match=problem):
        devices.visible("cuda")


def test_indices_are_those_of_the_driver(nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.environment("cuda", ["0", "1"]) == {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert devices.environment("cuda", ["0"])["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"


@pytest.fixture
def amd_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sysfs of a host with four accelerators and without ``amd-smi``."""
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    amd_files(tmp_path / "sys", 4)
    monkeypatch.setattr(amd, "SYSFS", tmp_path / "sys")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "sys"


def test_amd_devices_are_nodes_with_compute_units(amd_host: Path) -> None:
    found = devices.visible("rocm")
    assert [each.name for each in found] == ["0", "1", "2", "3"]
    assert found[1] == Device(
        name="1",
        uuid="0000:21:00.0",
        product="AMD Instinct MI300X OAM",
        memory_bytes=206141652992,
        nodes=("/dev/dri/renderD129",),
    )
    assert devices.hardware("rocm") == {"devices": "4 x AMD Instinct MI300X OAM", "driver": "6.12.12"}


def test_amd_usage_is_read_from_sysfs(amd_host: Path) -> None:
    tenant = amd_host / "class" / "kfd" / "kfd" / "proc" / "4242"
    tenant.mkdir(parents=True)
    (tenant / "vram_51547").write_text("8000000\n")
    (tenant / "vram_51548").write_text("0\n")
    found = devices.visible("rocm")
    assert devices.usage("rocm", found[1]) == Usage(297783296, (Tenant(4242, 8000000),))
    assert devices.usage("rocm", found[2]) == Usage(297783296)


def amd_smi(folder: Path, answers: dict[str, object]) -> None:
    """The program with recorded answers, by its first argument."""
    folder.mkdir()
    cases = "".join(f"{name}) cat <<'EOF'\n{json.dumps(answer)}\nEOF\n;;\n" for name, answer in answers.items())
    (folder / "amd-smi").write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 1;; esac\n')
    (folder / "amd-smi").chmod(0o755)


LIST = [{"gpu": number, "bdf": f"0000:{16 * (number + 1) + 1:02X}:00.0", "partition_id": 0} for number in range(4)]
MEMORY = [
    {"gpu": 1, "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": {"value": 2531, "unit": "MB"}}}
]
# The shapes of ROCm 6: a table of memory by kind, and beside it all of it in bytes; of ROCm 7: in a table of its own.
RUNNING = [
    {
        "gpu": 1,
        "process_list": [
            {
                "process_info": {
                    "name": "python3",
                    "pid": 28389,
                    "memory_usage": {
                        "gtt_mem": {"value": 0, "unit": "B"},
                        "cpu_mem": {"value": 0, "unit": "B"},
                        "vram_mem": {"value": 2353860608, "unit": "B"},
                    },
                    "mem_usage": {"value": 2353860608, "unit": "B"},
                }
            }
        ],
    }
]
IDLE = [{"gpu": 1, "process_list": [{"process_info": "No running processes detected"}]}]


@pytest.mark.parametrize(
    ("running", "tenants"),
    [(RUNNING, (Tenant(28389, 2353860608),)), (IDLE, ()), ({"gpu_data": RUNNING}, (Tenant(28389, 2353860608),))],
)
def test_amd_usage_is_asked_where_amd_smi_is(
    amd_host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: object, tenants: tuple[Tenant, ...]
) -> None:
    amd_smi(tmp_path / "bin", {"list": LIST, "metric": MEMORY, "process": running})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert devices.usage("rocm", devices.visible("rocm")[1]) == Usage(2531 << 20, tenants)


@pytest.mark.parametrize("answers", [{}, {"list": [], "metric": MEMORY}, {"list": LIST, "metric": [{}], "process": 3}])
def test_sysfs_answers_where_amd_smi_does_not(
    amd_host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, object]
) -> None:
    amd_smi(tmp_path / "bin", answers)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert devices.usage("rocm", devices.visible("rocm")[1]) == Usage(297783296)
