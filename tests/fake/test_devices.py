"""Accelerators: each server gets its own, and points that need more than there are do not vanish."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.base.domain import Device, Tenant, Usage
from harness.devices import accelerators, amdgpu, nvml
from harness.run.rundir import Servers
from tests.fake.conftest import DISAGG, ONE_POINT, QUICK, SMALL
from tests.fake.hosts import Nvidia, amd_partitions
from tests.fake.hosts import amd as amd_files
from tests.fake_engine.install import install
from tests.helpers import REPOSITORY, Run, begin, edited, end, harness, left_in, run, validated, wait_for

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
    assert given == {"prefill": "7,3", "decode": "1,0", "router": None}


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


@pytest.mark.parametrize(
    ("described", "needs", "problem"),
    [
        (
            {0: {"total": 24 << 30}, 3: {"total": 24 << 30}},
            {"device_memory_gib": 32},
            "device 0 has 24 GiB, the case needs 32",
        ),
        (
            dict(enumerate({"capability": each} for each in ([9, 0], [10, 0], [12, 0], [8, 9]))),
            {"device_architectures": [">=10.0"]},
            "device 0 is 9.0 ({name}), the case needs >=10.0",
        ),
    ],
    ids=["too small", "another generation"],
)
def test_a_device_that_the_case_is_not_for_is_not_used(
    tmp_path: Path, described: dict[int, dict[str, Any]], needs: dict[str, Any], problem: str
) -> None:
    host = Nvidia(tmp_path / "host", 4)
    for number, about in described.items():
        host.gpus[number].update(about)
    host.write()
    changes = SMALL[ONE_POINT] | QUICK | {"platforms": ["cuda"]} | needs
    python = install(tmp_path / "engine", {})
    cases = edited(tmp_path / "cases", ONE_POINT, changes | {"serve/tensor_parallel_size": 2})
    done = run(tmp_path, "--cases", cases, "--engine-python", python, env=host.env)
    assert done.code == 0, done.output
    servers = Servers.model_validate_json((done.directory / "servers.json").read_bytes()).servers
    assert servers[0].server.env["CUDA_VISIBLE_DEVICES"] == "1,2"
    cases = edited(tmp_path / "more", ONE_POINT, changes | {"serve/tensor_parallel_size": 3})
    done = run(tmp_path / "again", "--cases", cases, "--engine-python", python, env=host.env)
    assert done.code == 4
    assert done.errors == {"prepare": problem.format(name=host.gpus[0]["name"])}


def test_points_that_need_more_than_allowed_are_skipped_and_reported(tmp_path: Path) -> None:
    axis = {"1": {"serve": {"tensor_parallel_size": 1}}, "4": {"serve": {"tensor_parallel_size": 4}}}
    done = run_with(tmp_path, {"matrix": {"tp": axis}}, "0,1", "--devices", "2")
    assert done.code == 0, done.output
    document = validated(done.runs / "junit.xml")
    skipped = {case.get("classname"): case.find("skipped") for case in document.iter("testcase")}
    reasons = {name: found.get("message") for name, found in skipped.items() if found is not None}
    assert reasons == {"disagg.cuda.disagg/known_answer_eagle3[tp=4] on cuda": "needs 8 devices, there are 2"}
    assert [path.parent.name for path in done.runs.glob("*/case.json")] == ["disagg.known_answer_eagle3.tp=1"]


def test_the_first_variable_that_is_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert accelerators.of("rocm").variable(os.environ) == "HIP_VISIBLE_DEVICES"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "2, 4")
    assert accelerators.of("rocm").variable(os.environ) == "ROCR_VISIBLE_DEVICES"
    with pytest.raises(
        accelerators.NoSuchDevice, match="CUDA_VISIBLE_DEVICES names device 5, and ROCR_VISIBLE_DEVICES leaves 2"
    ):
        accelerators.visible("rocm")  # one counts what the other leaves
    assert [each.name for each in accelerators.visible("cuda")] == ["5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [each.name for each in accelerators.visible("rocm")] == ["4"]
    assert accelerators.visible("cpu") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert accelerators.visible("cuda") == []


@pytest.fixture
def nvidia_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nvidia:
    """A host whose driver this very process asks."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    host = Nvidia(tmp_path / "host", 2)
    monkeypatch.setenv("FAKE_NVML", str(host.path))
    monkeypatch.setattr(nvml, "pynvml", imported())
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
    found = accelerators.visible("cuda")
    assert [(each.name, each.uuid, each.product) for each in found] == [
        ("0", "GPU-0aaa", "NVIDIA H200"),
        ("1", "GPU-1aaa", "NVIDIA H200"),
    ]
    assert found[0].memory_bytes == 150754820096
    assert accelerators.hardware("cuda") == {"devices": "2 x NVIDIA H200", "driver": "580.159.04"}
    assert accelerators.hardware("cpu") == {}
    assert accelerators.usage("cuda", found[0]) == Usage(0)


def test_without_a_driver_there_is_nothing(nvidia_host: Nvidia) -> None:
    nvidia_host.driver = ""
    nvidia_host.write()
    assert accelerators.visible("cuda") == []
    assert accelerators.hardware("cuda") == {}
    assert accelerators.usage("cuda", Device("0", "GPU-0aaa")) is None


def test_slices_are_devices(nvidia_host: Nvidia) -> None:
    nvidia_host.gpus[0]["slices"] = [
        {"uuid": f"MIG-{number}", "name": "NVIDIA H200 MIG 1g.18gb", "total": 18 << 30} for number in range(2)
    ]
    nvidia_host.write()
    found = accelerators.visible("cuda")
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
    assert [(each.name, each.uuid) for each in accelerators.visible("cuda")] == found


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
    with pytest.raises(accelerators.NoSuchDevice, match=problem):
        accelerators.visible("cuda")


def test_indices_are_those_of_the_driver(nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accelerators.environment("cuda", ["0", "1"]) == {
        "CUDA_VISIBLE_DEVICES": "0,1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert accelerators.environment("cuda", ["0"])["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"


@pytest.fixture
def amd_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sysfs of a host with four accelerators and without ``amd-smi``."""
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    amd_files(tmp_path / "sys", 4)
    monkeypatch.setattr(amdgpu, "SYSFS", tmp_path / "sys")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "sys"


def test_amd_devices_are_nodes_with_compute_units(amd_host: Path) -> None:
    found = accelerators.visible("rocm")
    assert [each.name for each in found] == ["0", "1", "2", "3"]
    assert found[1] == Device(
        name="1",
        uuid="0000:21:00.0",
        product="AMD Instinct MI300X OAM",
        memory_bytes=206141652992,
        nodes=("/dev/dri/renderD129",),
        aliases=("GPU-000000000000abc2",),
        architecture="gfx942",
    )
    assert accelerators.hardware("rocm") == {"devices": "4 x AMD Instinct MI300X OAM", "driver": "6.12.12"}


def test_amd_usage_is_read_from_sysfs(amd_host: Path) -> None:
    tenant = amd_host / "class" / "kfd" / "kfd" / "proc" / "4242"
    tenant.mkdir(parents=True)
    (tenant / "vram_51547").write_text("8000000\n")
    (tenant / "vram_51548").write_text("0\n")
    found = accelerators.visible("rocm")
    assert accelerators.usage("rocm", found[1]) == Usage(297783296, (Tenant(4242, 8000000),))
    assert accelerators.usage("rocm", found[2]) == Usage(297783296)


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
    assert accelerators.usage("rocm", accelerators.visible("rocm")[1]) == Usage(2531 << 20, tenants)


@pytest.mark.parametrize("answers", [{}, {"list": [], "metric": MEMORY}, {"list": LIST, "metric": [{}], "process": 3}])
def test_sysfs_answers_where_amd_smi_does_not(
    amd_host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, object]
) -> None:
    amd_smi(tmp_path / "bin", answers)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert accelerators.usage("rocm", accelerators.visible("rocm")[1]) == Usage(297783296)


SLICES = [
    {"uuid": f"MIG-{number}abc", "name": "NVIDIA H200 MIG 1g.18gb", "total": 18 << 30, "instances": [7 + number, 0]}
    for number in range(2)
]


@pytest.mark.parametrize(
    ("errors", "gpu", "known"),
    [
        ({"memory": "Not Supported"}, {"processes": [[1, 64 << 30]]}, Usage(None, (Tenant(1, 64 << 30),))),
        ({"memory": "Not Supported"}, {}, Usage(None, ())),
        ({"processes": "Insufficient Permissions"}, {"used": 7}, Usage(7, None)),
        ({"memory": "Not Supported", "processes": "Unknown Error"}, {}, Usage(None, None)),
        ({}, {"total": 0, "processes": [[1, None]]}, Usage(None, (Tenant(1),))),
        ({}, {"used": 7, "processes": [[0, 5]]}, Usage(7, (Tenant(0, 5),))),
        ({"handle": "Unknown Error"}, {}, Usage(None, None)),
    ],
)
def test_each_question_fails_on_its_own(
    nvidia_host: Nvidia, errors: dict[str, str], gpu: dict[str, Any], known: Usage
) -> None:
    nvidia_host.gpus[0] |= gpu | {"errors": errors}
    nvidia_host.write()
    found = accelerators.usage("cuda", Device("0", "GPU-0aaa"))
    assert found is not None
    assert (found.memory_bytes, found.tenants) == (known.memory_bytes, known.tenants)
    assert all(reason in found.unknown for reason in errors.values())
    assert bool(found.unknown) == (None in (known.memory_bytes, known.tenants))


def test_an_empty_list_says_nothing_where_other_processes_cannot_be_seen(
    nvidia_host: Nvidia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pid").symlink_to("pid:[4026532500]")
    monkeypatch.setattr(nvml, "_NAMESPACE", tmp_path / "pid")
    assert accelerators.usage("cuda", Device("0", "GPU-0aaa")) == Usage(0)
    nvidia_host.gpus[0]["errors"] = {"memory": "Not Supported"}
    nvidia_host.write()
    found = accelerators.usage("cuda", Device("0", "GPU-0aaa"))
    assert found is not None
    assert found.tenants is None


@pytest.mark.parametrize("question", ["handle", "uuid", "memory"])
def test_a_lost_device_leaves_the_others(nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch, question: str) -> None:
    nvidia_host.gpus.append({"uuid": "GPU-2aaa", "name": "NVIDIA H200"})
    nvidia_host.gpus[1]["errors"] = {question: "GPU is lost"}
    nvidia_host.write()
    seen = accelerators.look("cuda")
    # By UUID: nobody says whether CUDA counts the one that is lost.
    assert [(each.name, each.uuid) for each in seen.devices] == [("GPU-0aaa", "GPU-0aaa"), ("GPU-2aaa", "GPU-2aaa")]
    (line,) = seen.said
    assert line.startswith("device 1 cannot be used: GPU is lost; reset it")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1,0")
    seen = accelerators.look("cuda")
    assert [each.uuid for each in seen.devices] == ["GPU-2aaa", "GPU-0aaa"]
    assert seen.said == (f"CUDA_VISIBLE_DEVICES names device 1: {line}",)


def test_a_divided_device_is_not_offered_whole(nvidia_host: Nvidia) -> None:
    nvidia_host.gpus[0]["slices"] = []
    nvidia_host.write()
    seen = accelerators.look("cuda")
    assert [each.uuid for each in seen.devices] == ["GPU-1aaa"]
    assert "device 0: it is in MIG mode and has no instances" in seen.said[0]


@pytest.mark.parametrize(
    ("reason", "next_step", "broken"),
    [
        ("Driver/library version mismatch", "of one version", True),
        ("RM has detected an NVML/RM version mismatch.", "of one version", True),
        ("NVML Shared Library Not Found", "a host with an NVIDIA GPU", False),
        ("Driver Not Loaded", "modprobe nvidia", False),
        ("Insufficient Permissions", "/dev/nvidia", True),
        ("Unknown Error", "nvidia-smi", True),
    ],
)
def test_the_drivers_own_reason_is_said(nvidia_host: Nvidia, reason: str, next_step: str, broken: bool) -> None:
    nvidia_host.errors = {"init": reason}
    nvidia_host.write()
    seen = accelerators.look("cuda")
    assert seen.devices == ()
    assert reason in seen.problem
    assert next_step in seen.next_step
    assert seen.is_broken is broken


@pytest.mark.parametrize(
    ("given", "uuids", "said"),
    [
        (" 1 , 0 ", ["GPU-1aaa", "GPU-0aaa"], ""),
        ("0,-1,1", ["GPU-0aaa"], ""),
        ("-1", [], ""),
        ("NoDevFiles", [], ""),
        ("0,1,", ["GPU-0aaa", "GPU-1aaa"], ""),
        ("0,,1", ["GPU-0aaa"], "CUDA_VISIBLE_DEVICES has an empty entry, which ends the list"),
        ("0,7,1", ["GPU-0aaa"], "names device 7, and the driver shows 2; it ends the list"),
        ("GPU-1,GPU-x,GPU-0", ["GPU-1aaa"], "names GPU-x, and no device has a UUID that begins so; it ends the list"),
        ("0,0", [], "names device 0 twice, which leaves no device at all"),
        ("0,1,GPU-0", [], "names device GPU-0 twice, which leaves no device at all"),
        ("1gpu,0", [], "names 1gpu, and no device has a UUID that begins so; it ends the list"),
    ],
)
def test_a_list_is_read_as_cuda_reads_it(
    nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch, given: str, uuids: list[str], said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    seen = accelerators.look("cuda")
    assert [each.uuid for each in seen.devices] == uuids
    assert said in " ".join(seen.said)
    assert bool(seen.said) is bool(said)
    assert seen.devices or seen.problem


@pytest.mark.parametrize(
    ("given", "uuid"),
    [
        ("MIG-1abc", "MIG-1abc"),
        ("MIG-1", "MIG-1abc"),
        ("MIG-GPU-0aaa/8/0", "MIG-1abc"),
        ("MIG-GPU-0/7/0", "MIG-0abc"),
        ("MIG-GPU-0aaa/9/0", ""),
        ("MIG-GPU-0aaa", ""),
        ("0", "MIG-0abc"),
        ("GPU-0aaa", "MIG-0abc"),
        ("1", "GPU-1aaa"),
    ],
)
def test_slices_are_named_in_both_forms(
    nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch, given: str, uuid: str
) -> None:
    nvidia_host.gpus[0]["slices"] = SLICES
    nvidia_host.write()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    seen = accelerators.look("cuda")
    assert [each.uuid for each in seen.devices] == ([uuid] if uuid else [])
    assert seen.is_misnamed is not bool(uuid)


def test_where_cuda_sorts_by_speed_an_index_means_nothing(nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [each.uuid for each in accelerators.visible("cuda")] == [
        "GPU-1aaa"
    ]  # they are the same: in the driver's order
    nvidia_host.gpus[1]["name"] = "NVIDIA L4"
    nvidia_host.write()
    with pytest.raises(accelerators.NoSuchDevice, match="which one that is under CUDA_DEVICE_ORDER=FASTEST_FIRST"):
        accelerators.visible("cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    assert [each.uuid for each in accelerators.visible("cuda")] == ["GPU-1aaa"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [each.name for each in accelerators.visible("cuda")] == ["GPU-0aaa", "GPU-1aaa"]


@pytest.mark.parametrize(("given", "said"), [("void", "=void"), ("none", "=none"), ("", "="), ("all", "")])
def test_what_a_container_was_given_explains_and_never_chooses(
    nvidia_host: Nvidia, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", given)
    assert len(accelerators.visible("cuda")) == 2  # as by CDI
    nvidia_host.gpus.clear()
    nvidia_host.write()
    problem = accelerators.look("cuda").problem
    assert problem.startswith("NVIDIA's driver shows none")
    assert ("NVIDIA_VISIBLE_DEVICES" + said in problem) is bool(said)


@pytest.mark.parametrize(
    ("variables", "names", "said"),
    [
        ({"ROCR_VISIBLE_DEVICES": "3,1"}, ["3", "1"], ""),
        ({"ROCR_VISIBLE_DEVICES": "gpu-000000000000ABC3, GPU-000000000000abc1"}, ["2", "0"], ""),
        ({"ROCR_VISIBLE_DEVICES": "GPU-0"}, [], "more than one device has a UUID that begins so"),
        ({"ROCR_VISIBLE_DEVICES": "GPU-XX,1"}, [], "no device has a UUID that begins so"),
        ({"ROCR_VISIBLE_DEVICES": "1,1,2"}, ["1"], "names device 1 twice, which ends the list"),
        ({"ROCR_VISIBLE_DEVICES": "3,2,1", "HIP_VISIBLE_DEVICES": "2,0"}, ["1", "3"], ""),
        ({"ROCR_VISIBLE_DEVICES": "3,2", "HIP_VISIBLE_DEVICES": "0,2"}, ["3"], "ROCR_VISIBLE_DEVICES leaves 2"),
        ({"ROCR_VISIBLE_DEVICES": "3,2", "CUDA_VISIBLE_DEVICES": "1"}, ["2"], ""),
        ({"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "2"}, ["1"], ""),
        ({"HIP_VISIBLE_DEVICES": "1,1,2"}, ["1", "2"], ""),
        ({"HIP_VISIBLE_DEVICES": "1,-1,2"}, ["1"], ""),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "2"}, [], ""),
        ({"HIP_VISIBLE_DEVICES": "0,9"}, ["0"], "names device 9, and the driver shows 4"),
        ({"GPU_DEVICE_ORDINAL": "2,0"}, ["2", "0"], ""),
        ({"GPU_DEVICE_ORDINAL": "2", "HIP_VISIBLE_DEVICES": "1"}, ["1"], ""),
    ],
)
@pytest.mark.usefixtures("amd_host")
def test_variables_of_rocm_are_applied_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: list[str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    seen = accelerators.look("rocm")
    assert [each.name for each in seen.devices] == names
    assert said in " ".join(seen.said)
    assert bool(seen.said) is bool(said)
    assert seen.devices or seen.problem


@pytest.mark.usefixtures("amd_host")
def test_a_server_gets_its_devices_whatever_it_inherits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accelerators.environment("rocm", ["3"]) == {"HIP_VISIBLE_DEVICES": "3"}
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "3,2")
    assert accelerators.environment("rocm", ["3"]) == {"ROCR_VISIBLE_DEVICES": "3"}
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0,1")
    assert accelerators.environment("rocm", ["3", "2"]) == {"ROCR_VISIBLE_DEVICES": "3,2", "HIP_VISIBLE_DEVICES": "0,1"}


@pytest.fixture(params=["newer", "older", "not"])
def amd_parts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """sysfs of a host with one accelerator in four parts."""
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    amd_partitions(tmp_path / "sys", 4, numbered=request.param)
    monkeypatch.setattr(amdgpu, "SYSFS", tmp_path / "sys")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "sys"


def test_parts_of_an_accelerator_are_devices_with_their_memory(amd_parts: Path) -> None:
    found = accelerators.visible("rocm")
    assert [each.name for each in found] == ["0", "1", "2", "3"]
    assert len({each.uuid for each in found}) == 4
    assert {each.memory_bytes for each in found} == {24 << 30}
    assert {each.product for each in found} == {"AMD Instinct MI300X OAM"}
    assert [each.nodes for each in found] == [(f"/dev/dri/renderD{128 + number}",) for number in range(4)]
    tenant = amd_parts / "class" / "kfd" / "kfd" / "proc" / "4242"
    tenant.mkdir()
    (tenant / "vram_51548").write_text("8000000\n")
    used = [accelerators.usage("rocm", each) for each in found]
    assert [each.tenants if each else None for each in used] == [(), (), (Tenant(4242, 8000000),), ()]
    # What the card has in use is of all parts together.
    assert {each.memory_bytes if each else 0 for each in used} == {None}


def test_what_nobody_says_of_a_part_is_not_known(amd_parts: Path) -> None:
    (amd_parts / "class" / "kfd" / "kfd" / "proc").rmdir()
    assert [accelerators.usage("rocm", each) for each in accelerators.visible("rocm")] == [None] * 4


def test_amd_smi_says_what_a_part_has_in_use(amd_parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        {"gpu": number, "bdf": "0000:11:00.0", "kfd_id": 51546 + number, "node_id": 1 + number, "partition_id": number}
        for number in range(4)
    ]
    used = {"value": 3000, "unit": "MB"}
    of_part = [{"gpu": 1, "mem_usage": {"total_vram": {"value": 24576, "unit": "MB"}, "used_vram": used}}]
    amd_smi(tmp_path / "bin", {"list": parts, "metric": of_part, "process": IDLE})
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert accelerators.usage("rocm", accelerators.visible("rocm")[1]) == Usage(3000 << 20)
    of_all = [{"gpu": 0, "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"}, "used_vram": used}}]
    amd_smi(tmp_path / "more", {"list": parts, "metric": of_all, "process": IDLE})
    monkeypatch.setenv("PATH", f"{tmp_path / 'more'}:/usr/bin:/bin")
    found = accelerators.usage("rocm", accelerators.visible("rocm")[0])
    assert found is not None
    assert (found.memory_bytes, found.tenants) == (None, ())


def test_what_a_device_does_meanwhile_is_on_record_and_an_xid_is_an_error_of_the_device(tmp_path: Path) -> None:
    host = Nvidia(tmp_path / "host", 1)
    host.gpus[0] |= {"utilisation": 30, "milliwatts": 250000, "celsius": 50}
    host.write()
    changes = SMALL[ONE_POINT] | QUICK | {"platforms": ["cuda"]}
    cases = edited(tmp_path / "cases", ONE_POINT, changes)
    process = begin(
        tmp_path,
        "--cases",
        cases,
        "--engine-python",
        install(tmp_path / "engine", {"server": {"start_after": 1}}),
        env=host.env,
    )
    wait_for(lambda: list(tmp_path.glob("runs/*/telemetry.jsonl")), 60)
    host.gpus[0]["xids"] = [79]
    host.write()
    done = end(process, None, tmp_path)
    assert done.code == 4, done.output
    assert done.problems == {"device_incidents": "could not be judged: device 0: Xid 79 (fallen off the bus)"}
    (error,) = validated(done.directory / "junit.xml").iter("error")
    assert error.get("type") == "device"
    assert "device 0: 30% busy (most 30%), 0.0 GiB at most, 250 W (most 250), 50 °C at most" in done.output
    assert "servers: " in done.output
    # Whoever has the run directory finds the same.
    assert harness("assert", done.directory).returncode == 4
