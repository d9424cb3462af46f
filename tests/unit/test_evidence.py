"""Tables of recorded runs: the last run of a point counts, and none is claimed that was not recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.cases.load import load
from harness.upkeep import records
from tests.helpers import BASELINES

CASES = load(BASELINES)
H200 = {"host.devices": "4 x NVIDIA H200", "engine": "vllm", "version.vllm": "0.26.0"}


def record(folder: Path, name: str, outcome: str, started: str, provenance: dict[str, str] = H200) -> Path:
    suite, _, rest = name.partition("/")
    path = folder / name.replace("/", ".")
    path.mkdir(parents=True)
    check = {"name": "accuracy", "outcome": outcome, "measured": "0.75"}
    result = {
        "suite": suite, "name": rest, "platform": "cuda", "outcome": outcome, "exit_code": 0, "started": started,
        "stages": [], "checks": [check], "provenance": provenance, "timing": {"total": 50.0},
    }  # fmt: skip
    (path / "result.json").write_text(json.dumps(result))
    (path / "junit.xml").write_text("<testsuites/>")
    return path


def row(table: str, suite: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(f"| `{suite}`"))
    return [cell.strip() for cell in line.strip("|").split("|")][2:]


def test_the_last_run_of_a_point_counts(tmp_path: Path) -> None:
    record(tmp_path / "b", "mtp/known_answer_k1", "pass", "2026-11-20T10:00:00")
    record(tmp_path / "a", "mtp/known_answer_k1", "fail", "2026-11-21T10:00:00")
    record(tmp_path / "a", "mtp/known_answer_k3", "pass", "2026-11-21T11:00:00")
    cpu, cuda, rocm = row(records.systems(CASES, records.read(tmp_path)), "mtp")
    assert cuda == "verified: 1 of 7 on NVIDIA H200 (vllm 0.26.0); 1 red"
    assert (cpu, rocm) == ("built only: 2 points", "built only: 5 points")


def test_a_checkpoint_set_counts_for_its_case_and_red_runs_verify_nothing(tmp_path: Path) -> None:
    record(tmp_path / "a", "disagg/multi_connector@tiny", "pass", "2026-11-21T10:00:00")
    record(tmp_path / "a", "eplb/qwen3_30b_dp4_async@tiny", "error", "2026-11-21T10:00:00")
    systems = records.systems(CASES, records.read(tmp_path))
    assert row(systems, "disagg")[1].startswith("verified: 1 of ")
    assert row(systems, "eplb")[1].startswith("built only: ")
    assert row(systems, "eplb")[1].endswith(", 1 run and red")


def test_device_seconds_are_those_of_all_devices_of_the_case(tmp_path: Path) -> None:
    record(tmp_path / "a", "disagg/multi_connector@tiny", "pass", "2026-11-21T10:00:00")  # two devices
    record(tmp_path / "a", "mtp/known_answer_k1", "error", "2026-11-21T10:00:00")  # spent, and no verdict
    assert records.runs(CASES, records.read(tmp_path)).endswith("Device seconds of all runs: 150, 150 a verdict.")


def test_a_round_says_what_its_results_did_not_record(tmp_path: Path) -> None:
    record(
        tmp_path / "a",
        "mtp/known_answer_k1",
        "pass",
        "2026-11-20T10:00:00",
        {"engine": "sglang", "version.sglang": "1"},
    )
    (tmp_path / "a" / "host.json").write_text('{"host.devices": "1 x MI300X"}')
    assert row(records.systems(CASES, records.read(tmp_path)), "mtp")[1].endswith("on MI300X (sglang 1)")


def test_a_record_is_whole(tmp_path: Path) -> None:
    path = record(tmp_path / "a", "mtp/known_answer_k1", "pass", "2026-11-20T10:00:00")
    (path / "junit.xml").unlink()
    with pytest.raises(UsageError, match=r"junit\.xml: missing; copy it"):
        records.read(tmp_path)
    (path / "result.json").write_text("{}")
    with pytest.raises(UsageError, match=r"result\.json: suite: Field required; .* copy it from"):
        records.read(tmp_path)
