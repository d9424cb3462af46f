"""Runs on servers that somebody else runs: here other runs of the harness, on the scripted engine."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from harness.base.domain import Outcome
from harness.reports.result import Result
from harness.run.rundir import RunDir, Servers
from tests.fake.conftest import DISAGG, QUICK, SGLANG, SINGLE, SMALL
from tests.fake_engine.install import install
from tests.helpers import Run, all_live, begin, busy_ports, edited, end, harness, left_in, recorded, run, wait_for

Served = Callable[..., dict[str, str]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Start the servers of a small case, as another user would; gives their addresses by name, and stops them."""
    with ExitStack() as stack:

        def serve(case: str, faults: dict[str, dict[str, Any]] | None = None) -> dict[str, str]:
            edited(tmp_path / "cases", case, SMALL[case] | QUICK)
            python, theirs = install(tmp_path / "engine", faults or {}), tmp_path / "theirs"
            arguments = ("--run-dir", theirs, "--cases", tmp_path / "cases", "--engine-python", python)
            done = harness("serve", case, *arguments)
            stack.callback(harness, "stop", theirs)
            assert done.returncode == 0, done.stdout + done.stderr
            done = harness("health-wait", theirs)
            assert done.returncode == 0, done.stdout + done.stderr
            return {name: f"http://127.0.0.1:{port}" for name, port in ports(tmp_path).items()}

        yield serve
    assert left_in(tmp_path) == []
    assert busy_ports(tmp_path) == []


def document(folder: Path) -> Servers:
    return Servers.model_validate_json((folder / "theirs" / "servers.json").read_bytes())


def ports(folder: Path) -> dict[str, int]:
    return {each.server.name: each.server.ports["http"] for each in document(folder).servers}


def processes(folder: Path) -> list[psutil.Process]:
    return [psutil.Process(each.process.pid) for each in document(folder).servers if each.process]


def attached(folder: Path, urls: dict[str, str], *arguments: str) -> Run:
    named = ("--url", urls["server"]) if list(urls) == ["server"] else ("--attach", joined(urls))
    done = run(folder, "--cases", folder / "cases", "--platform", "cpu", *named, *arguments)
    assert all_live(processes(folder)), "they are somebody else's"
    return done


def joined(urls: dict[str, str]) -> str:
    return ",".join(f"{name}={url}" for name, url in urls.items())


def outcomes(result: Result) -> dict[str, Outcome]:
    return {each.name: each.outcome for each in result.checks}


def skipped(done: Run) -> dict[str, str]:
    return {name: why for name, why in done.problems.items() if why.startswith("not measured")}


def test_one_server_is_judged_as_if_we_had_started_it(tmp_path: Path, served: Served) -> None:
    done = attached(tmp_path, served(SINGLE))
    assert done.code == 0, done.output
    found = outcomes(done.result)
    assert found.pop("teardown") is Outcome.SKIPPED
    assert set(found.values()) == {Outcome.PASS}
    assert {"accuracy", "parity", "acceptance_length", "acceptance_per_position[2]", "draft_counts"} <= found.keys()
    left_out = {each.stage.value: each.message for each in done.result.stages if each.outcome is Outcome.SKIPPED}
    assert left_out.keys() == {"serve", "stop"}
    assert "somebody else runs the servers" in left_out["serve"]
    assert {"serve", "stop", "teardown"} == done.problems.keys()
    assert done.result.provenance["runtime"] == "attached"
    assert done.result.provenance["version.vllm"] == "0.0.1"
    assert not (done.directory / "commands.sh").exists()
    assert not (done.directory / "telemetry.jsonl").exists(), "what somebody else runs is not watched"
    again = harness("assert", done.directory)
    assert again.returncode == 0, again.stdout
    rejudged = Result.model_validate_json((done.directory / "rejudged.json").read_bytes())
    assert outcomes(rejudged) == outcomes(done.result)


def test_prefill_decode_and_router(tmp_path: Path, served: Served) -> None:
    urls = served(DISAGG)
    done = attached(tmp_path, urls)
    assert done.code == 0, done.output
    found = outcomes(done.result)
    judged = {"kv_transfer", "control[prefill_alone]", "control[decode_alone]", "acceptance_length", "validity"}
    assert all(found[name] is Outcome.PASS for name in judged)


@pytest.mark.parametrize(
    ("faults", "unmeasured"),
    [
        ({"lacks": ["/metrics"]}, {"acceptance_length", "acceptance_per_position[0]", "draft_counts"}),
        ({"drop_metric": "spec_decode"}, {"acceptance_length", "acceptance_per_position[0]", "draft_counts"}),
        ({"drop_metric": "per_pos"}, {"acceptance_per_position[0]", "draft_counts"}),
        ({"drop_metric": "request_success"}, set()),
    ],
    ids=["no metrics", "no drafts", "no positions", "no requests"],
)
def test_what_a_server_does_not_say_is_not_measured_and_the_rest_is_judged(
    tmp_path: Path, served: Served, faults: dict[str, Any], unmeasured: set[str]
) -> None:
    done = attached(tmp_path, served(SINGLE, {"server": faults}))
    assert done.code == 0, done.output
    found = outcomes(done.result)
    one_a_position = {name for name in found if name.startswith("acceptance_per_position")}
    expected = unmeasured | (one_a_position if "acceptance_per_position[0]" in unmeasured else set())
    expected |= {"at_rest"} if faults.get("lacks") else set()
    # Without its log and its metrics a server shows nothing of what is in force.
    always = (
        {"teardown", "in_force"}
        if unmeasured >= {"acceptance_length"} and found["in_force"] is Outcome.SKIPPED
        else {"teardown"}
    )
    assert {name for name, outcome in found.items() if outcome is Outcome.SKIPPED} == expected | always
    assert found["accuracy"] is found["parity"] is found["validity"] is Outcome.PASS
    assert skipped(done).keys() == expected
    assert not expected or "not measured: " in done.output
    said = next(each.details for each in done.result.checks if each.name == "validity")
    assert ("not compared with the requests" in said) == (not unmeasured or "/metrics" in str(faults))
    # The same says red of a server of ours, of which nothing may be missing.


def test_a_missing_counter_of_a_server_of_ours_stays_an_error(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    done = run(
        tmp_path, "--cases", cases, "--engine-python", install(tmp_path / "e", {"server": {"drop_metric": "spec"}})
    )
    assert done.code == 4
    assert outcomes(done.result)["acceptance_length"] is Outcome.ERROR


def test_one_of_several_servers_without_metrics_is_no_part_of_a_sum(tmp_path: Path, served: Served) -> None:
    done = attached(tmp_path, served(DISAGG, {"prefill": {"lacks": ["/metrics"]}}))
    assert done.code == 0, done.output
    assert "kv_transfer" in skipped(done)
    assert "prefill: /metrics answers 404" in skipped(done)["kv_transfer"]
    assert outcomes(done.result)["control[decode_alone]"] is Outcome.PASS


def test_nothing_that_could_be_judged_is_never_green(tmp_path: Path, served: Served) -> None:
    urls = served(SINGLE, {"server": {"lacks": ["/metrics"]}})
    path = tmp_path / "cases" / f"{SINGLE}.toml"
    text = path.read_text()
    path.write_text(text[: text.index("[checks.accuracy]")] + text[text.index("[checks.acceptance_length]") :])
    done = attached(tmp_path, urls)
    assert done.code == 4, done.output
    assert "could be measured" in done.errors["baselines"]


def test_a_wrong_engine_is_red(tmp_path: Path, served: Served) -> None:
    done = attached(tmp_path, served(SINGLE, {"server": {"no_drafts": True}}))
    assert done.code == 1, done.output
    assert outcomes(done.result)["acceptance_length"] is Outcome.FAIL


def test_measured_and_not_judged(tmp_path: Path, served: Served) -> None:
    done = attached(tmp_path, served(SINGLE), "--measure-only")
    assert done.code == 0, done.output
    assert done.result.outcome is Outcome.MEASURED
    found = {each.name: each for each in done.result.checks}
    assert found["accuracy"].outcome is Outcome.MEASURED
    assert found["accuracy"].expected is found["accuracy"].low is None
    assert found["acceptance_length"].measured
    assert found["draft_counts"].n
    assert "measured only" in done.problems["accuracy"]
    assert "nothing was judged" in done.output
    assert "measured only" in harness("summary", done.runs).stdout


def test_a_run_of_ours_is_measured_too(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    for faults, code in (({"no_drafts": True}, 4), ({"lacks": ["/v1/models"]}, 0)):
        python, runs = install(tmp_path / f"engine{code}", {"server": faults}), tmp_path / f"runs{code}"
        done = run(tmp_path, "--cases", cases, "--engine-python", python, "--measure-only", "--runs", str(runs))
        assert done.code == code, done.output
    assert Result.model_validate_json(next(runs.glob("*/result.json")).read_bytes()).outcome is Outcome.MEASURED
    assert left_in(tmp_path) == []


def test_what_was_asked_for_and_not_measured_is_an_error_of_a_measurement(tmp_path: Path, served: Served) -> None:
    done = attached(tmp_path, served(SINGLE, {"server": {"drop_metric": "spec_decode"}}), "--measure-only")
    assert done.code == 4, done.output
    assert "not measured" in done.errors["acceptance_length"]
    assert outcomes(done.result)["accuracy"] is Outcome.MEASURED


def test_a_case_without_a_baseline_is_measured_only(tmp_path: Path, served: Served) -> None:
    urls = served(SINGLE)
    path = tmp_path / "cases" / f"{SINGLE}.toml"
    text = path.read_text()
    path.write_text(text[: text.index("[checks.accuracy]")] + "[checks]\n")
    done = attached(tmp_path, urls)
    assert done.code == 2
    assert "checks: a case without a baseline proves nothing" in done.output
    done = attached(tmp_path, urls, "--measure-only")
    assert done.code == 0, done.output
    assert outcomes(done.result)["acceptance_length"] is Outcome.MEASURED


def test_by_hand_in_stages(tmp_path: Path, served: Served) -> None:
    urls, rundir = served(SINGLE), tmp_path / "ours"
    arguments = ("--run-dir", rundir, "--cases", tmp_path / "cases", "--platform", "cpu", "--url", urls["server"])
    assert harness("serve", SINGLE, *arguments).returncode == 0
    for stage, code in (("health-wait", 0), ("eval", 0), ("eval", 2), ("assert", 0), ("stop", 0), ("eval", 2)):
        done = harness(stage, rundir)
        assert done.returncode == code, (stage, done.stdout + done.stderr)
    assert all_live(processes(tmp_path))
    assert "stopped already" in harness("stop", rundir).stdout
    assert harness("assert", rundir).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked to end", "killed"])
def test_killed_half_way_it_leaves_the_servers_and_a_run_that_can_be_read(
    tmp_path: Path, served: Served, number: signal.Signals
) -> None:
    urls = served(SINGLE, {"server": {"latency": 4.0}})
    theirs = processes(tmp_path)
    ours = begin(tmp_path, "--cases", tmp_path / "cases", "--platform", "cpu", "--url", urls["server"])
    wait_for(lambda: recorded(tmp_path, '"stage":"eval","kind":"progress"'))
    done = end(ours, number, tmp_path)
    assert done.code == (130 if number is signal.SIGTERM else -9)
    assert all_live(theirs)
    on_record = RunDir.existing(done.directory).read("servers", Servers)
    assert on_record is not None
    assert {each.process for each in on_record.servers} == {None}, "there is nothing that could be signalled or reaped"
    again = harness("assert", done.directory)
    assert again.returncode == (130 if number is signal.SIGTERM else 4), again.stdout
    assert "eval" in again.stdout
    assert all_live(theirs)
    assert attached(tmp_path, urls | {}, "--runs", str(tmp_path / "again")).code == 0


def test_a_server_that_goes_away_is_an_error(tmp_path: Path, served: Served) -> None:
    urls = served(SINGLE, {"server": {"latency": 1.5}})
    ours = begin(tmp_path, "--cases", tmp_path / "cases", "--platform", "cpu", "--url", urls["server"])
    wait_for(lambda: recorded(tmp_path, '"stage":"eval","kind":"progress"'))
    for each in processes(tmp_path):
        each.kill()
    done = end(ours, None, tmp_path)
    assert done.code == 4, done.output
    assert "its log is not here" in done.errors["eval"] or "requests failed" in done.errors["eval"]


def test_requests_of_somebody_else_meanwhile_are_seen(tmp_path: Path, served: Served) -> None:
    urls = served(SINGLE, {"server": {"latency": 3.0}})
    ours = begin(tmp_path, "--cases", tmp_path / "cases", "--platform", "cpu", "--url", urls["server"])
    wait_for(lambda: recorded(tmp_path, '"stage":"eval","kind":"progress"'))
    body = {"model": "model", "prompt": "x", "max_tokens": 1}
    assert requests.post(f"{urls['server']}/v1/completions", json=body, timeout=60).status_code == 200
    done = end(ours, None, tmp_path)
    assert done.code == 4, done.output
    assert "finished requests for 8 answers" in done.errors["validity"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "http://127.0.0.1:1", "--attach", "decode=http://127.0.0.1:2"), "give one of them"),
        (("--url", "http://127.0.0.1:1"), "has prefill, decode, router, not server; give --attach prefill=URL,"),
        (("--attach", "prefill=http://a:1,decode=http://b:1"), "has prefill, decode, router, not prefill, decode"),
        (("--attach", "prefill=http://a:1,decode=http://a:1,router=http://c:1"), "there twice"),
        (("--attach", "prefill"), "must be NAME=URL"),
        (("--attach", "decode=ftp://a"), "no address of a server"),
        (("--attach", "decode=http://a:99999"), "give http://HOST:PORT"),
        (("--attach", "decode=http://user:hunter22222@a:1"), "holds a user or a password"),
        (("--attach", "decode=http://a/?key=1"), "must end with the path"),
        (("--model-name", "x"), "give --url or --attach too"),
        (("--url", "http://a:1", "--runtime", "docker"), "--runtime: not with servers that run already"),
        (("--url", "http://a:1", "--engine-python", "python"), "--engine-python: not with servers"),
        (("--url", "http://a:1", "--base-image", "x"), "--base-image: not with servers"),
        (("--url", "http://a:1", "--keep"), "--keep: not with servers"),
        (("--url", "http://a:1", "--devices", "0"), "--devices: not with servers"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    cases = edited(tmp_path / "cases", DISAGG, SMALL[DISAGG] | QUICK)
    done = harness("run", DISAGG, "--cases", cases, "--runs", tmp_path / "runs", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hunter22222" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_caches_of_somebody_elses_server_are_left_alone(tmp_path: Path, served: Served) -> None:
    urls = served(SGLANG)
    done = attached(tmp_path, urls)
    assert "is left out" in done.output
    assert done.result.provenance["engine"] == "sglang"
    assert outcomes(done.result)["acceptance_length"] is Outcome.PASS, done.output


def test_a_started_run_cannot_claim_that_something_was_missing(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    done = run(tmp_path, "--cases", cases, "--engine-python", install(tmp_path / "engine", {}))
    path = done.directory / "servers.json"
    servers = json.loads(path.read_text())
    servers["servers"][0]["lacks"] = {"metrics": "nobody knows"}
    path.write_text(json.dumps(servers))
    again = harness("assert", done.directory)
    assert again.returncode == 4
    assert "lacks: of a server of ours" in again.stdout
