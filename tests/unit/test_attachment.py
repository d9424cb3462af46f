"""Addresses of servers that run already, what they answer, and what is judged where they do not say everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.base.domain import Item, Outcome
from harness.base.errors import UsageError
from harness.base.evidence import Evidence, Measurement
from harness.cases.load import load
from harness.checks import judge_all
from harness.checks.measuring import measured_only
from harness.engines import ENGINES
from harness.plan.points import ATTACHED_ONLY, everything
from harness.plan.request_bodies import CHAT, COMPLETIONS, UNSAID, read, request
from harness.reports.result import judged
from harness.run.attachment import attachment, base_url
from harness.run.measure import measure
from harness.upkeep.rules import problems
from tests.helpers import BASELINES

POINTS = {each.id: each for each in everything(load(BASELINES)) if each.platform == "cpu"}
VLLM, OPENAI = POINTS["eagle3/known_answer"].case, POINTS["any_server/gsm8k_chat"].case
USAGE = {"prompt_tokens": 5, "completion_tokens": 7}


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("https://h/a/b/v1/", "https://h/a/b"),
        ("https://[::1]:80/v1", "https://[::1]:80"),
        ("http://h/v1/x", "http://h/v1/x"),
    ],
)
def test_an_address_is_what_v1_is_below(given: str, base: str) -> None:
    assert base_url("--url", given) == base


@pytest.mark.parametrize(
    "given", ["", "h:80", "ftp://h", "http://", "http://h:0", "http://h:x", "http://[::1", "http://h/?a", "http://h/#a",
              "http://h/a b", "http://h/\n", "http://user@h"],
)  # fmt: skip
def test_what_is_no_address_is_one_line(given: str) -> None:
    with pytest.raises(UsageError) as error:
        base_url("--url", given)
    assert "\n" not in str(error.value)


def test_several_servers_come_by_name() -> None:
    found = attachment(
        ["prefill-0=http://a,prefill-1=http://b", "router=http://c"], "", key_env="", key_file=None, model=""
    )
    assert found is not None
    assert found.urls == {"prefill-0": "http://a", "prefill-1": "http://b", "router": "http://c"}
    assert attachment([], "", key_env="", key_file=None, model="") is None


def chat(case: Any, message: dict[str, Any], **choice: Any) -> Any:
    return read(case, CHAT, {"choices": [{"message": message, "finish_reason": "stop"} | choice], "usage": USAGE})


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("plain", "plain", ""),
        ("<think>a</think>b", "b", "a"),
        ("\n<think>\na\n</think>\n\nb </think> c", "b </think> c", "\na\n"),
        ("a</think>\nb", "b", "a"),
        ("<think>a", "", "a"),
        ("b <think>a", "b <think>a", ""),
    ],
)
def test_reasoning_at_the_beginning_is_kept_apart(content: str, text: str, reasoning: str) -> None:
    said = chat(VLLM, {"content": content})
    assert (said.text, said.reasoning) == (text, reasoning)


def test_reasoning_in_a_field_of_its_own() -> None:
    assert chat(OPENAI, {"content": "b", "reasoning_content": "a"}).reasoning == "a"
    assert chat(OPENAI, {"content": "b", "reasoning": "a", "reasoning_content": None}).reasoning == "a"
    assert chat(OPENAI, {"content": None, "reasoning": "a"}).text == ""


@pytest.mark.parametrize("message", [{}, {"content": None}, {"content": 5}, {"content": "b", "reasoning": 5}, None])
def test_what_is_no_message_is_an_error(message: Any) -> None:
    with pytest.raises(ValueError, match="without a chat completion"):
        chat(OPENAI, message)


def test_only_a_plain_server_may_leave_things_out() -> None:
    body = {"choices": [{"text": "x"}]}
    said = read(OPENAI, COMPLETIONS, body)
    assert (said.finish_reason, said.prompt_tokens, said.completion_tokens) == (UNSAID, None, None)
    with pytest.raises(ValueError, match="without a completion"):
        read(VLLM, COMPLETIONS, body)
    with pytest.raises(ValueError, match="without a completion"):
        read(OPENAI, COMPLETIONS, {**body, "usage": {"prompt_tokens": -1}})


def test_a_chat_goes_to_the_chat_endpoint_with_what_the_api_has() -> None:
    item = Item(id="x", prompt="c", body={"max_tokens": 3}, chat=True, earlier=("a", "b"))
    asked = request(OPENAI, item, "org/m")
    assert asked.path == CHAT
    assert asked.body == {
        "model": "org/m",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
        ],
        "temperature": 0,
        "max_tokens": 3,
    }
    told = request(VLLM, replace(item, template={"enable_thinking": False}))
    assert told.body["chat_template_kwargs"] == {"enable_thinking": False}


def results(missing: dict[Any, str]) -> dict[str, Outcome]:
    measured = measure(VLLM, [], {}, {}, {}, silent=missing)
    found = judge_all(VLLM.checks, VLLM.controls, VLLM.comparisons, Evidence(measured))
    return {each.name: each.outcome for each in found}


def test_only_what_a_missing_counter_is_for_is_left_out() -> None:
    spec = {"acceptance_length", "draft_counts", *(f"acceptance_per_position[{position}]" for position in range(3))}
    skipped = {name for name, outcome in results({}).items() if outcome is Outcome.SKIPPED}
    assert skipped == spec, "nothing was counted at all"
    measured = measure(VLLM, [], {}, {}, {})
    assert measured.missing == {}, "of servers of ours nothing may be missing"
    found = judge_all(VLLM.checks, {}, {}, Evidence(measured))
    assert {each.outcome for each in found} == {Outcome.ERROR}


def test_a_restart_is_an_error_whatever_is_missing() -> None:
    measured = measure(VLLM, [], {}, {}, {}, restarted={"server": "it went down"}, silent={"logs": "not here"})
    assert "drafts" not in measured.missing
    found = judge_all(VLLM.checks, {}, {}, Evidence(measured))
    assert Outcome.SKIPPED not in {each.outcome for each in found}


def test_a_check_that_reads_logs_has_none_of_somebody_elses() -> None:
    case = next(each.case for each in everything(load(BASELINES)) if each.case.checks.cuda_graphs)
    measured = measure(case, [], {}, {}, {}, silent={"logs": "its log is not here"})
    found = {each.name: each for each in judge_all(case.checks, case.controls, case.comparisons, Evidence(measured))}
    assert found["cuda_graphs"].outcome is Outcome.SKIPPED
    assert found["cuda_graphs"].message == "not measured: its log is not here"


def test_a_measurement_without_an_answer_is_an_error() -> None:
    measured: Measurement = measure(OPENAI, [], {}, {}, {}, silent={})
    found = measured_only(judge_all(OPENAI.checks, {}, {}, Evidence(measured)), Evidence(measured))
    assert judged([], found, interrupted=False) is Outcome.ERROR


def test_suites_off_the_menu_are_those_that_no_session_could_run() -> None:
    points = [each for each in POINTS.values() if each.suite in ("any_server", "eagle3")]
    assert all(each.skip == ATTACHED_ONLY for each in points if each.suite == "any_server")

    def with_menu(suite: str, *, menu: bool) -> list[str]:
        changed = [each for each in points if each.suite == suite]
        about = replace(
            changed[0].case_file.suite, about=changed[0].case_file.suite.about.model_copy(update={"menu": menu})
        )
        moved = [replace(each, case_file=replace(each.case_file, suite=about)) for each in changed]
        return [line for line in problems(moved, {}, None) if "session" in line and "no workflow" not in line]

    assert "can only be attached, and no session can run that" in with_menu("any_server", menu=True)[0]
    assert "could run, and no session does" in with_menu("eagle3", menu=False)[0]
    assert not with_menu("any_server", menu=False)
    assert not with_menu("eagle3", menu=True)
    assert ENGINES["openai"].servers(OPENAI, None) == []  # type: ignore[arg-type] # nothing is placed
