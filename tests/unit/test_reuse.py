"""What makes two runs the same work, and which verdicts on record may stand for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.domain import CheckResult, Device, Outcome
from harness.base.errors import UsageError
from harness.cases.load import load
from harness.devices import accelerators
from harness.devices.accelerators import Seen
from harness.plan.points import everything
from harness.reports.result import Result, Timing, conclude
from harness.run import reuse
from harness.run.documents import Checkpoint, Prepared, Runtime
from tests.helpers import BASELINES

H200 = Device("0", "GPU-0", "NVIDIA H200", 150 << 30, architecture="9.0")
ATTACHED = Runtime(kind="attached", why="", engine_python="", environment="")


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    planned = next(each for each in everything(load(BASELINES)) if each.id == "mtp/known_answer_k1")
    return Prepared(
        run_id="one",
        suite=planned.suite,
        name=planned.name,
        platform="cpu",
        case=planned.case,
        created="2026-11-28T05:00:00+00:00",
        owner=None,
        build="b" * 64,
        checkpoints={"target": Checkpoint(path="/models/a", sha256="a" * 64)},
        host={"machine": "x86_64", "cpus": "2"},
    )


def with_checkpoint(**about: str) -> Callable[[Prepared], Prepared]:
    made = {"target": Checkpoint(path="/models/a", **about)}
    return lambda prepared: prepared.model_copy(update={"checkpoints": made})


def with_longer_answers(prepared: Prepared) -> Prepared:
    evaluation = prepared.case.evaluation.model_copy(update={"max_tokens": prepared.case.evaluation.max_tokens + 1})
    return prepared.model_copy(update={"case": prepared.case.model_copy(update={"evaluation": evaluation})})


@pytest.mark.parametrize(
    "other",
    [
        with_longer_answers,
        with_checkpoint(sha256="c" * 64),
        with_checkpoint(revision="a" * 40),
        lambda prepared: prepared.model_copy(update={"build": "d" * 64}),
        lambda prepared: prepared.model_copy(update={"host": {"machine": "aarch64", "cpus": "2"}}),
        lambda prepared: prepared.model_copy(update={"host": {"machine": "x86_64", "cpus": "64"}}),
        lambda prepared: prepared.model_copy(update={"host": {**prepared.host, "driver": "580"}}),
        lambda prepared: prepared.model_copy(update={"platform": "rocm"}),
    ],
)
def test_another_case_checkpoint_build_or_device_is_other_work(
    prepared: Prepared, other: Callable[[Prepared], Prepared]
) -> None:
    assert reuse.fingerprint(other(prepared)) != reuse.fingerprint(prepared) != ""


def test_another_harness_is_another_judge(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    before = reuse.fingerprint(prepared)
    monkeypatch.setattr(reuse, "_harness", lambda: "another")
    assert reuse.fingerprint(prepared) != before


def test_when_and_where_it_was_run_makes_no_difference(prepared: Prepared) -> None:
    again = {"run_id": "two", "created": "2026-11-29T05:00:00+00:00", "folder": "/elsewhere"}
    assert reuse.fingerprint(prepared.model_copy(update=again)) == reuse.fingerprint(prepared)


@pytest.mark.parametrize(
    "unknown", [{"build": ""}, {"runtime": ATTACHED}, {"checkpoints": {"target": Checkpoint(path="/models/a")}}]
)
def test_what_is_not_known_for_sure_is_the_same_as_nothing(prepared: Prepared, unknown: dict[str, object]) -> None:
    assert reuse.fingerprint(prepared.model_copy(update=unknown)) == ""


def test_the_kind_of_device_counts_and_several_kinds_are_none(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = prepared.model_copy(update={"platform": "cuda"})
    small = Device("1", "GPU-1", "NVIDIA L4", 24 << 30, architecture="8.9")
    found = []
    for devices in ((H200,), (H200, H200), (small,), (H200, small)):
        monkeypatch.setattr(accelerators, "look", lambda _platform, there=devices: Seen(there))
        found.append(reuse.fingerprint(on_gpu))
    assert found[0] == found[1] != found[2]
    assert found[3] == ""


def result(outcome: Outcome, started: str, run_id: str, fingerprint: str = "f") -> Result:
    return conclude(
        suite="mtp",
        name="known_answer_k1",
        platform="cpu",
        started=started,
        stages=[],
        checks=[CheckResult("accuracy", outcome)],
        provenance={"fingerprint": fingerprint, "run_id": run_id},
        timing=Timing(),
        interrupted=False,
    )


def test_only_the_latest_green_of_the_same_work_stands_for_it(tmp_path: Path) -> None:
    written = [
        result(Outcome.PASS, "2026-11-01T00:00:00", "older"),
        result(Outcome.PASS, "2026-11-03T00:00:00", "latest"),
        result(Outcome.PASS, "2026-11-02T00:00:00", "middle"),
        result(Outcome.PASS, "2026-11-09T00:00:00", "other", "g"),
        *(result(each, "2026-11-08T00:00:00", each, "h") for each in Outcome if each is not Outcome.PASS),
    ]
    for number, each in enumerate(written):
        folder = tmp_path / f"attempt-{number}" / "run"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(each.model_dump_json())
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "result.json").write_text("{")
    green = reuse.green("f", [tmp_path])
    assert green is not None
    assert green.provenance["run_id"] == "latest"
    assert reuse.green("h", [tmp_path]) is None
    assert reuse.green("", [tmp_path]) is None
    assert reuse.green("f", []) is None


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--reuse .*/nothing: no folder there"):
        reuse.require([tmp_path, tmp_path / "nothing"])
