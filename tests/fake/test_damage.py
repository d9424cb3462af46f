"""A green run whose record was damaged afterwards, in one way at a time: it is never a pass."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome
from harness.run.judge import judge
from harness.run.rundir import RunDir
from tests.fake.conftest import DISAGG, QUICK, SGLANG, SMALL, run_on_script
from tests.fake_engine.install import install
from tests.helpers import edited, harness, left_in, run, validated

Damage = Callable[[Path], object]
CASES: dict[str, dict[str, Any]] = {
    DISAGG: SMALL[DISAGG]
    | {"checks/cuda_graphs": {"origin": "known of the script"}, "serve/flags/enforce-eager": None},
    SGLANG: SMALL[SGLANG],
}


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run directory of a case that passed; each case is run once."""

    @cache
    def of(name: str) -> Path:
        folder = tmp_path_factory.mktemp("green")
        done = run_on_script(folder, name, CASES[name] | QUICK)
        assert done.code == 0, done.output
        assert left_in(folder) == []
        return done.directory

    return of


def removed(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def emptied(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes(b"")


def lines(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return damage


def document(name: str, change: Callable[[Any], object]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return damage


def samples(change: Callable[[list[Any]], object]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "samples.jsonl"
        found = [json.loads(line) for line in path.read_text().splitlines()]
        change(found)
        path.write_text("".join(json.dumps(each) + "\n" for each in found))

    return damage


def one_sample(**changes: Any) -> Damage:
    return samples(lambda found: next(each for each in found if each["run"] == "main").update(changes))


def without_end_of(stage: str) -> Damage:
    return lines("events.jsonl", lambda found: [each for each in found if f'"{stage}"'.encode() not in each])


def counter(when: str, server: str, name: str, value: float) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "metrics" / f"{when}-{server}.prom"
        text, found = re.subn(rf"(?m)^({re.escape(name)}[^ ]*) \S+$", rf"\1 {value}", path.read_text())
        assert found
        path.write_text(text)

    return damage


def first(found: list[bytes]) -> list[bytes]:
    return found[:1]


def stop_before_its_end(found: list[bytes]) -> list[bytes]:
    return found[:-1]


def junk(found: list[bytes]) -> list[bytes]:
    return [*found[:5], b"\x00\xff junk\n", *found[5:]]


def no_outcome(found: list[bytes]) -> list[bytes]:
    return [each.replace(b'"outcome":"pass"', b'"outcome":"skipped"') for each in found]


def main_twice(found: list[Any]) -> None:
    mine = [each for each in found if each["run"] == "main"]
    mine[0].update(mine[1])


def drop(position: int) -> Callable[[list[Any]], object]:
    return lambda found: found.pop(position)


OF_ALL: dict[str, Damage] = {
    **{f"{name} is gone": removed(name) for name in ("events.jsonl", "ready.json", "servers.json", "samples.jsonl")},
    **{f"{name} is empty": emptied(name) for name in ("events.jsonl", "samples.jsonl", "measurements.json")},
    "all of the run but its first line": lines("events.jsonl", first),
    "a line that is no event": lines("events.jsonl", junk),
    "the end of stop is cut off": lines("events.jsonl", stop_before_its_end),
    "stages that end with another outcome": lines("events.jsonl", no_outcome),
    **{f"no {name} on record": without_end_of(name) for name in ("prepare", "serve", "health-wait", "eval", "stop")},
    "no first token": document("ready.json", lambda content: content.update(first_token="")),
    "a probe that did not answer": document("ready.json", lambda content: content["answered"].popitem()),
    "fewer servers": document("servers.json", lambda content: content["servers"].pop()),
    "no server": document("servers.json", lambda content: content["servers"].clear()),
    "a server twice": document("servers.json", lambda content: content["servers"].append(content["servers"][0])),
    "never stopped": document("servers.json", lambda content: content.update(stopped=None)),
    "a server whose counters nobody read": document(
        "servers.json", lambda content: content["servers"][0]["server"].update(has_metrics=False)
    ),
    "a sample fewer": samples(drop(0)),
    "another sample fewer": samples(drop(-1)),
    "a sample twice": samples(lambda found: found.append(found[-1])),
    "a sample in place of another": samples(main_twice),
    "a sample of another item": one_sample(item="K99"),
    "a sample of another run": one_sample(run="other"),
    "another right answer": one_sample(expected="7"),
    "another text that is right": one_sample(expected_text="7"),
    "a text that is not there": one_sample(text=""),
    "a request that failed": one_sample(error="status 500"),
    **{f"finish_reason {reason}": one_sample(finish_reason=reason) for reason in ("abort", "error", "load", "")},
    "no finish_reason": samples(lambda found: [each.pop("finish_reason") for each in found]),
    "a number in measurements.json": document(
        "measurements.json", lambda content: content["answers"]["main"].update(correct=0)
    ),
    "a key fewer in measurements.json": document("measurements.json", lambda content: content.pop("finished")),
    "a list for measurements.json": lambda folder: (folder / "measurements.json").write_text("[]"),
}


def of_metrics(*servers: str) -> dict[str, Damage]:
    paths = [f"metrics/{when}-{server}.prom" for when in ("before", "after") for server in servers]
    later = [f"metrics/after-{server}.prom" for server in servers]
    return {
        **{f"{path} is gone": removed(path) for path in paths},
        **{f"{path} is no metrics text": lines(path, lambda found: [*found, b"} \xff{ 1 2 3\n"]) for path in paths},
        **{f"{path} is empty": emptied(path) for path in later},
        **{f"half of {path}": lines(path, lambda found: found[: len(found) // 2]) for path in later},
    }


def added(when: str, server: str, series: str, value: float) -> Damage:
    """With a series more, as of another rank."""
    line = f"{series} {value}\n".encode()
    return lines(f"metrics/{when}-{server}.prom", lambda found: [*found, line])


def both(*damages: Damage) -> Damage:
    return lambda folder: [damage(folder) for damage in damages]


def without(run: str) -> Damage:
    """Without the samples of a run."""

    def change(found: list[Any]) -> None:
        found[:] = [each for each in found if each["run"] != run]

    return samples(change)


NIXL = "vllm:nixl_num_"
DRAFTS = 'vllm:spec_decode_num_drafts_total{engine="1"}'
SIDES = ("prefill", "decode")
OF_DISAGG: dict[str, Damage] = {
    **of_metrics(*SIDES),
    **{
        f"{name} on {side}": counter("after", side, f"{NIXL}{name}_total", 24)
        for side in SIDES
        for name in ("failed_transfers", "failed_notifications", "kv_expired_reqs")
    },
    **{
        f"notifications after expiry on {side}": added("after", side, f"{NIXL}notifications_after_expiry_total", 2)
        for side in SIDES
    },
    **{
        f"{reason} on {side}": added("after", side, f'vllm:request_success_total{{finished_reason="{reason}"}}', 2)
        for side in SIDES
        for reason in ("abort", "error")
    },
    "a rank that is gone": added("before", "decode", DRAFTS, 0),
    "a rank that began anew": both(added("before", "decode", DRAFTS, 9), added("after", "decode", DRAFTS, 8)),
    "another process": both(
        added("before", "prefill", "process_start_time_seconds", 1.7e9),
        added("after", "prefill", "process_start_time_seconds", 1.7e9 + 30),
    ),
    "logs/prefill.log is gone": removed("logs/prefill.log"),
    "no control": without("prefill_alone"),
    "no main run": without("main"),
}
OF_SGLANG: dict[str, Damage] = {
    **of_metrics("server"),
    "metrics/info-server.json is gone": removed("metrics/info-server.json"),
    "aborted requests": added("after", "server", 'sglang:num_aborted_requests_total{model_name="model"}', 1),
}
DAMAGES = [(DISAGG, *each) for each in (OF_ALL | OF_DISAGG).items()]
DAMAGES += [(SGLANG, *each) for each in (OF_ALL | OF_SGLANG).items()]


@pytest.mark.parametrize(
    ("case", "what", "damage"), DAMAGES, ids=[f"{case.partition('/')[0]}: {what}" for case, what, _ in DAMAGES]
)
def test_a_damaged_record_is_never_a_pass(
    green: Callable[[str], Path], case: str, what: str, damage: Damage, tmp_path: Path
) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(green(case), folder, symlinks=True)
    damage(folder)
    result = judge(RunDir.existing(folder))
    assert (result.outcome, result.exit_code) == (Outcome.ERROR, 4)
    assert [check.message for check in result.checks if check.outcome is Outcome.ERROR and not check.message] == []
    validated(folder / "junit.xml")
    if "measurements.json" not in what:  # which must not be what notices it
        (folder / "measurements.json").unlink(missing_ok=True)
        assert judge(RunDir.existing(folder)).outcome in (Outcome.ERROR, Outcome.FAIL)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: None,
        lambda folder: (folder / "measurements.json").unlink(),
        lines("events.jsonl", lambda found: [*found, b'{"time":"t","sta']),
    ],
    ids=["nothing", "measurements.json is gone", "a last line that is cut off, after all that is needed"],
)
def test_what_is_no_damage_changes_nothing(green: Callable[[str], Path], change: Damage, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(green(DISAGG), folder, symlinks=True)
    before = (folder / "result.json").read_bytes()
    change(folder)
    assert judge(RunDir.existing(folder)).outcome is Outcome.PASS
    assert (folder / "result.json").read_bytes() == before


def test_the_command_says_what_is_missing_and_ends_with_4(green: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(green(DISAGG), folder, symlinks=True)
    (folder / "events.jsonl").write_text("")
    done = harness("assert", folder)
    assert done.returncode == 4
    assert "evidence: could not be judged: events.jsonl: empty" in done.stdout
    assert "14 checks not judged: the record of the run is damaged or not whole" in done.stdout


def test_kept_servers_are_a_pass_and_none_once_their_end_is_not_on_record(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SGLANG, CASES[SGLANG] | QUICK)
    done = run(tmp_path, "--cases", cases, "--engine-python", install(tmp_path / "engine", {}), "--keep")
    assert done.code == 0, done.output
    assert harness("stop", done.directory).returncode == 0
    assert left_in(tmp_path) == []
    assert judge(RunDir.existing(done.directory)).outcome is Outcome.PASS
    lines("events.jsonl", stop_before_its_end)(done.directory)
    assert judge(RunDir.existing(done.directory)).outcome is Outcome.ERROR
