"""A green run with one value changed afterwards: of everything that is read, what must turn red.

The rows are made of what is read: every metric that the engine's module names, in every reading and of every server,
every field of a sample and of a footprint, every key of the measurement, every finding of a log. What has no row in the
tables below is an error of this test.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome, Sample
from harness.base.evidence import Measurement
from harness.base.resting import Footprint
from harness.engines import ENGINES, metrics
from harness.run.judge import judge
from harness.run.rundir import RunDir
from tests.fake.conftest import DISAGG, QUICK, SINGLE, run_on_script

VLLM = ENGINES["vllm"]
READ = {each.sample: each for each in (*VLLM.metrics, *VLLM.inside.gauges, metrics.RESIDENT)}
CASES: dict[str, dict[str, Any]] = {
    SINGLE: {"evaluation/items": 16, "checks/corrupted_requests": {"origin": "known of the script"}},
    DISAGG: {
        "evaluation/items": 16,
        "controls/prefill_alone/n": 16,
        "controls/decode_alone/n": 16,
        "checks/corrupted_requests": {"origin": "known of the script"},
    },
}
SERVERS = {SINGLE: ("server",), DISAGG: ("prefill", "decode")}
UNSCRIPTED = ("vllm:corrupted_requests_total", "vllm:nixl_num_notifications_after_expiry_total")
"""What the scripted engine does not export, and a real one may."""

Change = Callable[[Path], object]

SPECULATION = {"draft_counts", "validity"}
LEDGER = {"kv_transfer", "validity"}
METRICS: dict[str, set[str]] = {
    "drafts": SPECULATION,
    "draft_tokens": SPECULATION,
    "accepted": SPECULATION,
    "accepted_at": SPECULATION,
    "prompt_tokens": LEDGER,
    "transfers": LEDGER,
    "transfer_bytes": LEDGER,
    "transfer_sizes": LEDGER,
    "failed_transfers": LEDGER,
    "failed_notifications": LEDGER,
    "expired_requests": LEDGER,
    "notifications_after_expiry": LEDGER,
    "corrupted_requests": {"corrupted_requests", "validity"},
    "finished_requests": LEDGER,
    "all_prompt_tokens": {"validity"},
    "generated_tokens": LEDGER,
    "preempted_requests": {"validity"},
    "running": {"at_rest"},
    "waiting": {"at_rest"},
    "kv_usage": {"at_rest"},
    "resident": {"at_rest"},
}
"""By the harness's name of a metric: the checks of which one must turn red."""

GREEN = {
    ("before", "kv_usage"): "what was held before and is not held after is no leak",
    ("before", "resident"): "what a process had before and does not have after is no leak",
    "started": "time is not judged absolutely",
    "seconds": "time is not judged absolutely: ten times as slow stays green",
    "schema_version": "what another version measured is not compared; the other files are judged",
    "findings": "logs grow on: they are read again, and not compared",
}
"""What stays green, and why."""

RAISED = {"kv_usage": 0.95, "resident": 2e10}
RESTING = {"running", "waiting", "kv_usage", "resident"}


def series(folder: Path, when: str, server: str) -> list[tuple[str, str]]:
    """The harness's name and the whole name of each series that is read there."""
    text = (folder / "metrics" / f"{when}-{server}.prom").read_text()
    names = [line.rpartition(" ")[0] for line in text.splitlines()]
    pairs = [(READ.get(re.split(r"[{ ]", each, maxsplit=1)[0]), each) for each in names]
    return [(metric.name, each) for metric, each in pairs if metric]


def of_metrics(folder: Path, when: str, server: str) -> Iterator[tuple[str, Change, set[str]]]:
    """Every series of every metric that is read, raised and, where it can be, lowered."""
    for name, each in series(folder, when, server):
        gauge = name in RESTING
        if (when, name) in GREEN or (when == "rest" and not gauge):
            continue  # at the end only what a server holds is read
        what = f"{each} of {server} {when}"
        yield f"{what} raised", _metric(when, server, each, RAISED.get(name, 7.0)), METRICS[name]
        if not gauge and not _raised_from_nothing(folder, when, server, each):
            yield f"{what} lowered", _metric(when, server, each, -1.0), METRICS[name]


def _raised_from_nothing(folder: Path, when: str, server: str, name: str) -> bool:
    text = (folder / "metrics" / f"{when}-{server}.prom").read_text()
    return f"{name} 0.0" in text.splitlines()


def _metric(when: str, server: str, name: str, by: float) -> Change:
    def tamper(folder: Path) -> None:
        path = folder / "metrics" / f"{when}-{server}.prom"
        lines = path.read_text().splitlines()
        (index,) = (number for number, line in enumerate(lines) if line.rpartition(" ")[0] == name)
        lines[index] = f"{name} {float(lines[index].rpartition(' ')[2]) + by}"
        path.write_text("\n".join(lines) + "\n")

    return tamper


SAMPLES: dict[str, list[tuple[Any, set[str]]]] = {
    "run": [("other", {"evidence"})],
    "item": [("K99", {"evidence"})],
    "status": [(500, {"validity"}), (0, {"validity"})],
    "error": [("status 500", {"validity"})],
    "text": [(" and so on", {"parity"}), ("", {"parity"})],
    "prompt_tokens": [(lambda tokens: tokens + 1, {"validity"}), (None, {"evidence"})],
    "completion_tokens": [(1, {"validity"}), (100_000, {"validity"}), (0, {"validity"}), (None, {"evidence"})],
    "finish_reason": [
        *((each, {"validity"}) for each in ("length", "abort", "error", "repetition", "")),
        ("(not said)", {"evidence"}),
    ],
    "expected": [("7", {"evidence"}), (None, {"evidence"})],
    "expected_text": [("7", {"evidence"}), (None, {"evidence"})],
    "expected_prompt_tokens": [(7, {"evidence"}), (None, {"evidence"})],
    "expected_completion_tokens": [(7, {"evidence"}), (None, {"evidence"})],
    "expected_finish_reason": [("length", {"evidence"}), (None, {"evidence"})],
    "reasoning": [("Let me think.", {"evidence"})],
    "started": [],
    "seconds": [],
}
"""By the name of a field: other values, each with the checks of which one must turn red."""


def of_samples() -> Iterator[tuple[str, Change, set[str]]]:
    for name, changes in SAMPLES.items():
        for value, checks in changes:
            said = "another" if callable(value) else repr(value)
            yield f"{name} of every answer is {said}", _sample(name, value, every=True), checks
            yield f"{name} of one answer is {said}", _sample(name, value, every=False), checks


def _sample(name: str, value: Any, *, every: bool) -> Change:
    def tamper(folder: Path) -> None:
        path = folder / "samples.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        for each in [each for each in found if each["run"] == "main"][: None if every else 1]:
            each[name] = value(each[name]) if callable(value) else value
        path.write_text("".join(json.dumps(each) + "\n" for each in found))

    return tamper


FOOTPRINTS: dict[str, tuple[Any, set[str]]] = {
    "done": (3, {"evidence"}),
    "planned": (3, {"evidence"}),
    "memory_bytes": (20 << 30, {"evidence"}),
    "resident_bytes": (0, {"evidence"}),
    "threads": (5000, {"at_rest"}),
    "descriptors": (5000, {"at_rest"}),
    "device_bytes": (80 << 30, {"at_rest"}),
}
"""By the name of a field of the last reading: another value, and what must turn red."""


def _footprint(server: str, name: str, value: Any) -> Change:
    def tamper(content: Any) -> None:
        readings = content["servers"][server]
        for each in readings:  # a machine without devices has none to tell of
            each[name] = 0 if each[name] is None else each[name]
        readings[-1][name] = value

    return _document("footprints.json", tamper)


def _document(name: str, change: Callable[[Any], object]) -> Change:
    def tamper(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return tamper


SAID = (
    "ERROR Potentially invalid KV blocks for unrecognized request x were retrieved by a decode worker.",
    "ERROR Unrecognized request x notif (may have expired).",
    "WARNING Releasing expired KV blocks for request x which were retrieved by 0 remote worker(s)",
    "ERROR Failing 3 request(s) due to KV load failure (failure_policy=fail, 243 tokens affected).",
    "WARNING Recovered from KV load failure: 3 request(s) rescheduled (243 tokens affected).",
)


def _says(server: str, line: str) -> Change:
    def tamper(folder: Path) -> None:
        with (folder / "logs" / f"{server}.log").open("a") as log:
            log.write(line + "\n")

    return tamper


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run directory of a case that passed, and beside it the same without its measurement."""

    @cache
    def of(name: str) -> Path:
        folder = tmp_path_factory.mktemp("green")
        done = run_on_script(folder, name, CASES[name] | QUICK)
        not_passed = {each.name for each in done.result.checks if each.outcome is not Outcome.PASS}
        assert not_passed == {"corrupted_requests"}, done.output  # which the scripted engine does not count
        shutil.copytree(done.directory, done.directory.parent / "unmeasured", symlinks=True)
        for path in (done.directory.parent / "unmeasured").glob("metrics/*.prom"):
            added = UNSCRIPTED if name == DISAGG else UNSCRIPTED[:1]
            path.write_text(path.read_text() + "".join(f'{each}{{engine="0"}} 0.0\n' for each in added))
        (done.directory.parent / "unmeasured" / "measurements.json").unlink()
        return done.directory

    return of


def red(folder: Path, tampers: list[tuple[str, Change, set[str]]], scratch: Path) -> None:
    """Each change makes the run red, on one of the checks that it is said to."""
    escaped = []
    for number, (what, change, checks) in enumerate(tampers):
        copy = scratch / str(number)
        shutil.copytree(folder, copy, symlinks=True)
        change(copy)
        result = judge(RunDir.existing(copy))
        found = {each.name for each in result.checks if each.outcome in (Outcome.FAIL, Outcome.ERROR)}
        if result.outcome is Outcome.PASS or not checks & found:
            escaped.append(f"{what}: {result.outcome}, {', '.join(sorted(found)) or 'nothing'} red")
        shutil.rmtree(copy)
    assert escaped == []


def unmeasured(green: Callable[[str], Path], case: str) -> Path:
    return green(case).parent / "unmeasured"


def test_every_metric_and_every_field_has_a_row() -> None:
    assert METRICS.keys() == {each.name for each in READ.values()}
    assert SAMPLES.keys() == {each.name for each in fields(Sample)}
    assert {name for name, changes in SAMPLES.items() if not changes} <= GREEN.keys()
    assert FOOTPRINTS.keys() == {each.name for each in fields(Footprint)}
    assert {
        what for what in VLLM.inside.findings if not any(VLLM.inside.found(each).get(what) for each in SAID)
    } == set()


@pytest.mark.parametrize("case", CASES)
def test_the_unchanged_run_is_green(green: Callable[[str], Path], case: str, tmp_path: Path) -> None:
    shutil.copytree(unmeasured(green, case), tmp_path / "copied", symlinks=True)
    result = judge(RunDir.existing(tmp_path / "copied"))
    assert [f"{each.name}: {each.message}" for each in result.checks if each.outcome is not Outcome.PASS] == []


@pytest.mark.parametrize("when", ["before", "after", "rest"])
@pytest.mark.parametrize("case", CASES)
def test_a_changed_metric_is_red(green: Callable[[str], Path], case: str, when: str, tmp_path: Path) -> None:
    folder = unmeasured(green, case)
    tampers = [each for server in SERVERS[case] for each in of_metrics(folder, when, server)]
    assert len(tampers) > len(SERVERS[case])
    red(folder, tampers, tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_every_metric_was_there_to_be_changed(green: Callable[[str], Path], case: str) -> None:
    there = {name for server in SERVERS[case] for name, _ in series(unmeasured(green, case), "after", server)}
    lacking = {each.name for each in READ.values()} - there
    assert lacking == (set() if case == DISAGG else {each.name for each in READ.values() if "nixl" in each.sample})


@pytest.mark.parametrize("case", CASES)
def test_a_changed_sample_is_red(green: Callable[[str], Path], case: str, tmp_path: Path) -> None:
    red(unmeasured(green, case), list(of_samples()), tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_a_changed_footprint_is_red(green: Callable[[str], Path], case: str, tmp_path: Path) -> None:
    tampers = [
        (f"{name} of {server}", _footprint(server, name, value), checks)
        for server in SERVERS[case]
        for name, (value, checks) in FOOTPRINTS.items()
    ]
    tampers += [
        (f"the log of {server}", _document("footprints.json", partial(_longer, server)), {"evidence"})
        for server in SERVERS[case]
    ]
    older = _document("case.json", lambda content: content.update(layout=1))
    red(unmeasured(green, case), [*tampers, ("the layout of an earlier version", older, {"evidence"})], tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_what_a_log_says_is_broken_is_red(green: Callable[[str], Path], case: str, tmp_path: Path) -> None:
    tampers = [(line, _says(server, line), {"validity"}) for server in SERVERS[case] for line in SAID]
    red(unmeasured(green, case), tampers, tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_a_changed_measurement_is_red(green: Callable[[str], Path], case: str, tmp_path: Path) -> None:
    names = [each.name for each in fields(Measurement) if each.name not in GREEN]
    changes = [_document("measurements.json", partial(_other, name)) for name in names]
    red(green(case), [(name, change, {"evidence"}) for name, change in zip(names, changes, strict=True)], tmp_path)


@pytest.mark.parametrize("name", ["started", "seconds"])
def test_ten_times_as_slow_stays_green(green: Callable[[str], Path], name: str, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(unmeasured(green, DISAGG), folder, symlinks=True)
    _sample(name, lambda seconds: seconds * 10, every=True)(folder)
    assert judge(RunDir.existing(folder)).outcome is Outcome.PASS


def _other(name: str, content: Any) -> None:
    content[name] = "something else"


def _longer(server: str, content: Any) -> None:
    content["logs"][server] += 1 << 30
