"""Telemetry: what drivers say, on a host that files describe, and what an incident does to a verdict."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from harness.base.activity import Incident, Reading, incidents, summarised
from harness.base.domain import Device, Outcome, Stage, StageRecord
from harness.devices import accelerators, amdgpu, nvml, nvml_telemetry
from harness.run import telemetry
from harness.run.rundir import RunDir
from tests.fake.hosts import Nvidia, amd

XID = Incident("Xid 79 (fallen off the bus)", "device")
FAULT = Incident("Xid 31 (memory page fault)", "")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nvidia:
    made = Nvidia(tmp_path / "host", 2)
    monkeypatch.setenv("FAKE_NVML", made.env["FAKE_NVML"])
    spec = importlib.util.spec_from_file_location("fake_nvml", Path(made.env["PYTHONPATH"]) / "pynvml.py")
    assert spec is not None
    assert spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    for module in (nvml, nvml_telemetry):
        monkeypatch.setattr(module, "pynvml", library)
    return made


def described(host: Nvidia, number: int, **about: Any) -> None:
    host.gpus[number].update(about)
    host.write()


def test_each_question_to_nvml_may_fail_on_its_own(host: Nvidia) -> None:
    described(host, 0, utilisation=42, milliwatts=312500, celsius=61, used=5 << 30)
    described(host, 1, celsius=40, errors={"memory": "Not Supported"})
    devices = [Device("0", "GPU-0aaa"), Device("1", "GPU-1aaa")]
    with accelerators.of("cuda").sampler(devices) as read:
        assert read() == [
            Reading("device 0", 0.0, 0.42, 5 << 30, 312.5, 61.0),
            Reading("device 1", temperature_celsius=40.0),
        ]


def test_xids_of_before_are_nobodys_and_each_is_told_once(host: Nvidia) -> None:
    described(host, 0, xids=[13])
    devices = [Device("0", "GPU-0aaa"), Device("1", "GPU-1aaa")]
    with accelerators.of("cuda").sampler(devices) as read:
        assert [each.incidents for each in read()] == [(), ()]
        described(host, 1, xids=[31, 79, 999])
        assert [each.incidents for each in read()] == [(), (FAULT, XID, Incident("Xid 999", "device"))]
        assert [each.incidents for each in read()] == [(), ()]


def test_an_xid_of_a_divided_accelerator_is_one_of_its_slices(host: Nvidia) -> None:
    described(host, 0, slices=[{"uuid": "MIG-a", "used": 1 << 30}], milliwatts=100000)
    with accelerators.of("cuda").sampler([Device("MIG-a", "MIG-a", whole="GPU-0aaa")]) as read:
        described(host, 0, xids=[48])
        (found,) = read()
    assert found == Reading(
        "device MIG-a",
        memory_bytes=1 << 30,
        power_watts=100.0,
        incidents=(Incident("Xid 48 (double bit ECC error)", "device"),),
    )


def test_a_driver_that_has_no_events_for_us_says_the_rest(host: Nvidia) -> None:
    described(host, 0, celsius=50, errors={"events": "Insufficient Permissions"})
    with accelerators.of("cuda").sampler([Device("0", "GPU-0aaa")]) as read:
        assert read() == [Reading("device 0", memory_bytes=0, temperature_celsius=50.0)]


def test_amd_says_it_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amd(tmp_path, 1)
    monkeypatch.setattr(amdgpu, "SYSFS", tmp_path)
    card = tmp_path / "class" / "drm" / "renderD128" / "device"
    (card / "gpu_busy_percent").write_text("97\n")
    sensors = card / "hwmon" / "hwmon5"
    sensors.mkdir(parents=True)
    (sensors / "power1_average").write_text("612000000\n")
    (sensors / "temp1_input").write_text("41000\n")
    (sensors / "temp2_input").write_text("55000\n")
    (card / "ras").mkdir()
    (card / "ras" / "umc_err_count").write_text("ue: 1\nce: 7\n")
    (device,) = amdgpu.inventory().devices
    with accelerators.of("rocm").sampler([device]) as read:
        assert list(read()) == [Reading("device 0", 0.0, 0.97, 297783296, 612.0, 55.0)]
        (card / "ras" / "umc_err_count").write_text("ue: 3\nce: 9\n")
        assert [each.incidents for each in read()] == [(Incident("RAS: 2 more uncorrectable errors in umc", "device"),)]
        assert [each.incidents for each in read()] == [()]


def test_a_line_says_means_and_the_most() -> None:
    readings = [
        Reading("device 0", 0.0, 0.0, 1 << 30, 100.0, 40.0),
        Reading("servers", 0.0, None, 2 << 30),
        Reading("device 0", 2.0, 1.0, 3 << 30, 300.0, 60.0),
        Reading("servers", 2.0, 1.5, 1 << 30),
        Reading("device 1", 2.0),
    ]
    assert summarised(readings) == {
        "device 0": "50% busy (most 100%), 3.0 GiB at most, 200 W (most 300), 60 °C at most",
        "servers": "1.5 cores (most 1.5), 2.0 GiB at most",
    }


def test_the_same_incident_is_one() -> None:
    twice = [Reading("device 0", incidents=(XID, FAULT)), Reading("device 0", incidents=(XID,))]
    assert incidents([*twice, Reading("device 1", incidents=(XID,))]) == [
        ("device 0", XID),
        ("device 0", FAULT),
        ("device 1", XID),
    ]


@pytest.fixture
def rundir(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "run")


def test_a_stage_that_broke_names_the_incident_and_whose_fault_it_is(rundir: RunDir) -> None:
    telemetry._write(rundir, [Reading("device 3", 1.0, incidents=(FAULT, XID))])
    stages = [
        StageRecord(Stage.SERVE, Outcome.PASS, 1.0),
        StageRecord(Stage.EVAL, Outcome.ERROR, 1.0, "server ended with status 1", fault="host"),
    ]
    passed, broke = telemetry.blamed(stages, telemetry.readings(rundir))
    assert passed == stages[0]
    assert broke.message == (
        "server ended with status 1; device 3: Xid 31 (memory page fault); device 3: Xid 79 (fallen off the bus)"
    )
    assert broke.fault == "device"


@pytest.mark.parametrize(("incident", "fault"), [(XID, "device"), (FAULT, "")])
def test_a_run_with_an_incident_is_an_error_whatever_else_it_found(
    rundir: RunDir, incident: Incident, fault: str
) -> None:
    telemetry._write(rundir, [Reading("device 0", 0.0, 0.5), Reading("device 0", 2.0, incidents=(incident,))])
    (check,) = telemetry.judged(telemetry.readings(rundir))
    assert (check.name, check.outcome, check.fault) == ("device_incidents", Outcome.ERROR, fault)
    assert check.message.endswith(f"device 0: {incident.text}")


@pytest.mark.parametrize("content", [None, b"", b"\xff\n{", b'{"source": 5}\n', b"[" * 1000])
def test_what_is_damaged_or_not_there_says_nothing(rundir: RunDir, content: bytes | None) -> None:
    if content is not None:
        (rundir.path / telemetry.NAME).write_bytes(content)
    assert telemetry.judged(telemetry.readings(rundir)) == []
    assert telemetry.provenance(telemetry.readings(rundir)) == {}


def test_what_was_written_is_read_back(rundir: RunDir) -> None:
    some = [Reading("device 0", 0.0, 0.5, 5, 1.5, 3.0, (XID,)), Reading("servers")]
    telemetry._write(rundir, some[:1])
    telemetry._write(rundir, some[1:])
    assert telemetry.readings(rundir) == some
