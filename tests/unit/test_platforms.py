"""A platform is one module and one entry of a table; one that nobody knows is never taken for another vendor's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from harness.base.domain import PLATFORMS, Device, Platform, Usage
from harness.base.errors import UsageError
from harness.cases.load import load
from harness.containers import passthrough
from harness.containers.passthrough import Engine, Passthrough
from harness.devices import accelerators, amdgpu, nvml, visibility
from harness.devices.inventory import Inventory, Slot
from harness.devices.platform import Accelerator, Cdi, DriverSilent, Fit, Without
from harness.devices.visibility import Chosen
from harness.images import engine_image
from harness.plan.points import everything
from harness.plan.show import servers
from harness.run import canary_checks, occupancy
from harness.run.canary_checks import Imports, Live, Needs
from tests.helpers import BASELINES

NPU = cast(Platform, "npu")
VISIBLE = "NPU_VISIBLE_DEVICES"
ENGINE = Engine("Docker", "28.3.0")
OTHERS = ("NVIDIA", "nvidia", "CUDA", "AMD", "amd", "ROCm", "HIP")


class Npu(Accelerator):
    """A platform of a fourth vendor with two devices."""

    name = NPU
    title = "NPU"
    vendor = "Fourth"
    host = "a host of Fourth's"
    variables = (VISIBLE,)
    read = (VISIBLE,)
    absent = "Fourth's driver shows none"
    container_variable = ""
    cdi = Cdi("fourth.example/npu", "write a CDI spec with `fourth-ctk`")
    torch = "npu"
    has_nixl_wheel = False
    environment_bytes = image_bytes = 1 << 30

    def __init__(self, node: Path) -> None:
        self.node, self.is_loaded = node, True

    def inventory(self) -> Inventory:
        devices = [Device(str(number), f"NPU-{number}", "N1", 8 << 30, (str(self.node),)) for number in range(2)]
        return Inventory(tuple(Slot((each,), each.uuid) for each in devices if self.is_loaded))

    def chosen(self, environment: Mapping[str, str], there: Inventory) -> Chosen:
        if VISIBLE not in environment:
            return Chosen(tuple(there.devices))
        return visibility.listed(environment[VISIBLE], VISIBLE, lambda entry: there.devices[int(entry)], "ends")

    def environment(self, names: Sequence[str], inherited: Mapping[str, str]) -> dict[str, str]:
        return {self.variable(inherited): ",".join(names)}

    def usage(self, device: Device) -> Usage | None:
        return Usage(int(device.name))

    def driver(self) -> str:
        return "4.0"

    def supported(self) -> str:
        if not self.is_loaded:
            raise DriverSilent("load it")
        return "level 4"

    def fit(self, supported: str, built: str) -> Fit:
        return Fit(bool(built), f"{supported}, torch is built for {built}")

    def in_cdi(self, device: Device, specs: Mapping[str, tuple[str, ...]]) -> str:
        wanted = f"{self.cdi.kind}={device.name}"
        return wanted if wanted in specs else ""

    def without_cdi(self, devices: Sequence[Device]) -> Without:
        return Without(nodes=tuple(node for each in devices for node in each.nodes))


@pytest.fixture
def npu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Npu:
    """The fourth platform, on a host where asking another vendor's driver is an error."""

    def refuse(*_: object) -> None:
        raise AssertionError("another vendor was asked")

    node = tmp_path / "npu0"
    node.touch()
    made = Npu(node)
    monkeypatch.setitem(accelerators.ACCELERATORS, NPU, made)
    monkeypatch.delenv(VISIBLE, raising=False)
    for module, names in ((nvml, "inventory usage driver newest_cuda"), (amdgpu, "inventory usage driver loaded")):
        for name in names.split():
            monkeypatch.setattr(module, name, refuse)
    return made


def test_the_table_has_every_platform_that_a_case_may_name() -> None:
    assert tuple(accelerators.ACCELERATORS) == PLATFORMS
    assert all(accelerators.of(name).name == name for name in PLATFORMS)


def test_a_new_platform_is_enumerated_and_shared_out(npu: Npu, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each.uuid for each in accelerators.visible(NPU)] == ["NPU-0", "NPU-1"]
    assert accelerators.hardware(NPU) == {"devices": "2 x N1", "driver": "4.0"}
    assert accelerators.usage(NPU, Device("1", "NPU-1")) == Usage(1)
    assert occupancy.foreign(NPU, Device("1", "NPU-1")) == occupancy.Foreign()
    monkeypatch.setenv(VISIBLE, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0")
    assert [each.uuid for each in accelerators.visible(NPU)] == ["NPU-1"]
    assert accelerators.environment(NPU, ["1"]) == {VISIBLE: "1"}
    monkeypatch.setenv(VISIBLE, "")
    assert accelerators.look(NPU).problem == f"{VISIBLE}= leaves none"
    npu.is_loaded = False
    assert accelerators.look(NPU).problem == "Fourth's driver shows none"
    assert accelerators.why_unknown(NPU) == "the driver says nothing of it"


def test_what_is_shown_of_a_new_platform_names_its_variable(npu: Npu) -> None:
    case = next(each for each in everything(load(BASELINES)) if each.id == "eagle3/known_answer").case
    (server,) = servers(case, accelerators.on_paper(NPU))
    assert {name: value for name, value in server.env.items() if "VISIBLE" in name} == {VISIBLE: "0"}


def test_a_container_is_given_the_devices_of_a_new_platform(npu: Npu, tmp_path: Path) -> None:
    devices = accelerators.visible(NPU)[:1]
    older = passthrough.plan(NPU, devices, ENGINE)
    assert (older.nodes, older.gpus, older.cdi) == ((str(npu.node),), (), ())
    hidden = {"NVIDIA_VISIBLE_DEVICES": "void", "AMD_VISIBLE_DEVICES": "void"}
    assert {name: value for name, value in older.env.items() if "VISIBLE" in name} == Passthrough().env == hidden
    assert older.next_step == "write a CDI spec with `fourth-ctk`, or run with --runtime local"
    assert passthrough.plan(NPU, devices, Engine("Podman", "4.9.3")).nodes == older.nodes
    (tmp_path / "spec.yaml").write_text("kind: fourth.example/npu\ndevices:\n- name: '0'\n")
    by_cdi = passthrough.plan(NPU, devices, replace(ENGINE, cdi=(tmp_path,)))
    assert (by_cdi.cdi, by_cdi.nodes) == (("fourth.example/npu=0",), ())
    assert not any(word in f"{older.how}{older.next_step}{by_cdi.how}{by_cdi.next_step}" for word in OTHERS)


@pytest.mark.parametrize(
    ("torch", "is_loaded", "found"),
    [
        ({"npu": "4"}, True, {"torch": "2.9 for NPU 4", "driver": "level 4, torch is built for 4"}),
        ({"npu": "4"}, False, {"torch": "2.9 for NPU 4", "driver": "Fourth's driver does not answer: load it"}),
        ({}, True, {"torch": "2.9 is built for the CPU alone, and the case is for npu", "driver": None}),
        ({"cuda": "13.0"}, True, {"torch": "2.9 is built for CUDA 13.0, and the case is for npu", "driver": None}),
    ],
)
def test_the_canary_asks_a_new_platforms_own_driver(
    npu: Npu, torch: dict[str, str], is_loaded: bool, found: dict[str, str | None]
) -> None:
    assert canary_checks.torch_versions() == ["cuda", "hip", "npu"]
    npu.is_loaded = is_loaded
    driver, why = None, ""
    try:
        driver = accelerators.of(NPU).supported()
    except DriverSilent as error:
        why = str(error)
    needs = Needs("vllm", NPU, (), harness="0.1.0")
    imports = Imports({"torch": ""}, {}, {"version": "2.9", **torch})
    said = {each.check: each for each in canary_checks.judge(needs, {}, imports, Live(1, "0.1.0", {}, {}), driver, why)}
    for check, text in found.items():
        assert text in (None, said[check].text)
    assert said["torch"].ok is said["torch"].text.startswith("2.9 for NPU")
    assert said["driver"].ok is (is_loaded and "npu" in torch)
    silent = canary_checks.judge(needs, {}, imports, Live(1, "0.1.0", {}, {}), None)
    assert silent[-1].text == "there is no Fourth driver here"


def test_an_image_for_a_new_platform_holds_no_nixl_of_another_one(npu: Npu) -> None:
    locks = {
        name: [path.name for path in engine_image.recipe("vllm", name, engine_image.Build("any:1")).parts.locks]
        for name in (NPU, *PLATFORMS[1:])
    }
    assert locks == {
        NPU: ["vllm-router.txt"],
        "cuda": ["vllm-router.txt", "nixl.txt"],
        "rocm": ["vllm-router.txt"],
    }


XPU = cast(Platform, "xpu")


@pytest.mark.parametrize(
    "ask",
    [
        accelerators.look,
        accelerators.visible,
        accelerators.hardware,
        accelerators.why_unknown,
        accelerators.on_paper,
        lambda name: accelerators.environment(name, ["0"]),
        lambda name: accelerators.usage(name, Device("0", "GPU-0")),
        lambda name: passthrough.plan(name, [Device("0", "GPU-0")], ENGINE),
        lambda name: canary_checks.judge(Needs("vllm", name, ()), {}, Imports({}, {}, {}), Live(1, "", {}, {}), "13.0"),
        lambda name: engine_image.base_of("vllm", name, engine_image.Build("any:1")),
    ],
)
def test_an_unknown_platform_is_an_error_that_names_it(ask: Callable[[Platform], object]) -> None:
    with pytest.raises(accelerators.UnknownPlatform, match=r"^xpu is none of cpu, cuda, rocm$"):
        ask(XPU)


def test_a_caller_who_names_an_unknown_platform_is_told() -> None:
    with pytest.raises(UsageError, match=r"^--platform xpu: must be one of cpu, cuda, rocm$"):
        accelerators.named("xpu")
