"""Accelerators: each server gets its own, and points that need more than there are do not vanish."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.ground.errors import CannotJudge
from harness.mechanism import devices
from harness.policy.cases.load import load
from harness.policy.plan import everything
from harness.run.context import Context
from harness.run.prepare import Options, create
from harness.run.prepare import run as prepare
from harness.run.progress import Progress
from harness.run.rundir import RunDir, Servers
from tests.fake.conftest import DISAGG, QUICK, SMALL
from tests.fake_engine.install import install
from tests.helpers import Run, edited, left_in, run, validated

ON_GPU: dict[str, Any] = {"platforms": ["cuda"], "serve/tensor_parallel_size": 2}


def run_with(folder: Path, changes: dict[str, Any], visible: str, *arguments: str) -> Run:
    cases = edited(folder / "cases", DISAGG, SMALL[DISAGG] | QUICK | ON_GPU | changes)
    python = install(folder / "engine", {})
    done = run(folder, "--cases", cases, "--engine-python", python, *arguments, env={"CUDA_VISIBLE_DEVICES": visible})
    assert left_in(folder) == []
    return done


def test_visible_devices_are_shared_out_and_never_used_twice(tmp_path: Path) -> None:
    done = run_with(tmp_path, {}, "7,3,GPU-1,0,5")
    assert done.code == 0, done.output
    servers = Servers.model_validate_json((done.directory / "servers.json").read_bytes()).servers
    given = {each.server.name: each.server.env.get("CUDA_VISIBLE_DEVICES") for each in servers}
    assert given == {"prefill": "7,3", "decode": "GPU-1,0", "router": None}


def test_too_few_devices_are_an_error_with_both_numbers(tmp_path: Path) -> None:
    done = run_with(tmp_path, {}, "0,1,2")
    assert done.code == 4
    assert done.problems == {"prepare": "needs 4 cuda devices, there are 3"}
    assert not (done.directory / "servers.json").exists()


def test_a_device_that_is_too_small_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | ON_GPU | {"device_memory_gib": 32})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0,1,0")
    monkeypatch.setattr(devices, "pynvml", Nvml())
    (planned,) = everything(load(cases))
    context = Context(create(planned, tmp_path / "run"), Progress(RunDir(tmp_path / "run"), lambda _: None))
    with pytest.raises(CannotJudge, match="device 0 has 24 GiB, the case needs 32"):
        prepare(context, Options(runtime="local"))


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
    assert devices.visible("rocm") == ["2", "4"]
    assert devices.visible("cuda") == ["5"]
    assert devices.visible("cpu") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.visible("cuda") == []


class Nvml:
    """NVIDIA's library on a host with two devices."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, driver: bool = True) -> None:
        self.driver, self.open = driver, 0

    def nvmlInit(self) -> None:  # noqa: N802 # the library's own names
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, _: int) -> str:  # noqa: N802
        return "NVIDIA H200"

    def nvmlDeviceGetHandleByUUID(self, _: str) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(total=(24 + 56 * handle) * 2**30)

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.159.04"


def test_nvidia_devices_are_counted_and_named_and_the_library_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    library = Nvml()
    monkeypatch.setattr(devices, "pynvml", library)
    assert devices.visible("cuda") == ["0", "1"]
    assert devices.hardware("cuda") == {"devices": "2 x NVIDIA H200", "driver": "580.159.04"}
    assert devices.hardware("cpu") == {}
    assert [devices.memory_gib("cuda", name) for name in ("0", "1", "GPU-0")] == [24, 80, 24]
    assert devices.memory_gib("rocm", "0") is None
    assert library.open == 0
    monkeypatch.setattr(devices, "pynvml", Nvml(driver=False))
    assert devices.visible("cuda") == []
    assert devices.hardware("cuda") == {}


def test_amd_devices_are_nodes_with_compute_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for node, count in enumerate((0, 304, 304)):
        (tmp_path / str(node)).mkdir()
        (tmp_path / str(node) / "properties").write_text(f"cpu_cores_count {8 * (count == 0)}\nsimd_count {count}\n")
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "_KFD_NODES", tmp_path)
    assert devices.visible("rocm") == ["0", "1"]
