"""The API's contract is judged right: every entry holds on a sound server, and each kind of breach breaks one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.base.exchange import Exchanged
from harness.checks.answer_documents import differences, observed
from harness.checks.contract import ContractSettings, judge
from harness.protocols.known_answer_contract import KnownAnswerContract
from tests.chain_runs import broken, evidence
from tests.fake_engine.site.chain_server import ChainServer


def asked(**changes: Any) -> KnownAnswerContract:
    return KnownAnswerContract(
        protocol="known_answer_contract", items=4, max_tokens=32, concurrency=4, send_to="entry", context=1024,
        endpoint="completions", **changes,
    )  # fmt: skip


def settings(entries: int | None = None) -> ContractSettings:
    return ContractSettings(entries=entries or len(asked().exchanges()), origin="made for this test")


def judged(server: ChainServer) -> CheckResult:
    (result,) = judge(settings(), evidence(asked(), server))
    return result


@pytest.mark.parametrize("rank", [None, 0, 1])
def test_a_sound_engine_keeps_the_contract(rank: int | None) -> None:
    result = judged(broken(rank=rank))
    assert result.outcome is Outcome.PASS, result.details
    assert result.details.count(": holds") == result.n == settings().entries


def test_names_are_unique_and_everything_has_a_known_answer() -> None:
    planned = asked().exchanges()
    assert len({each.name for each in planned}) == len(planned)
    assert all(each.expected for each in planned)


@pytest.mark.parametrize(
    ("fault", "entry"),
    [
        ("stop_strings_ignored", "stop_string_over_a_border: "),
        ("stop_tokens_ignored", "stop_token: "),
        ("min_tokens_ignored", "min_tokens_14: "),
        ("finish_reason_wrong", "stop_string: choices.0.finish_reason: 'stop' expected, got 'length'"),
        ("usage_off_by_one", "end_of_sequence: usage.completion_tokens: 13 expected, got 14"),
        ("echo_ignored", "echo: "),
        ("stream_drops_a_piece", "end_of_sequence_streamed: choices.0.text: "),
        ("finish_reason_twice", "end_of_sequence_streamed: ends: 1 expected, got 2"),
        ("choices_reversed", "prompts_in_order: "),
        ("penalties_ignored", "frequency_penalty: choices.0.text: "),
        ("prompt_not_penalized", "repetition_penalty: choices.0.text: "),
        ("bad_words_ignored", "bad_words: choices.0.text: "),
        ("allowed_ignored", "allowed_token_ids: choices.0.text: "),
        ("logprobs_of_another_row", "logprobs_streamed: choices.0.logprobs.token_logprobs.0: "),
        ("takes_anything", "refused_temperature_below_zero: status: 400 expected"),
        ("refuses_with_500", "refused_unknown_model: status: 404 expected, got 500"),
        ("never_frees", "left_after_one_piece: busy: '' expected, got 'running 1'"),
    ],
)
def test_a_breach_breaks_its_entry(fault: str, entry: str) -> None:
    result = judged(broken(fault))
    assert result.outcome is Outcome.FAIL
    assert entry in result.details


def test_one_token_too_many_under_speculation_is_seen() -> None:
    assert "max_tokens_3: " in judged(broken("one_token_too_many", rank=0)).details


def test_whether_the_template_began_the_models_turn_shows() -> None:
    begun = replace(broken(), turn=":")
    (result,) = judge(settings(), evidence(asked(turn=":"), begun))
    assert result.outcome is Outcome.PASS, result.details
    for server in (broken(), replace(broken("turn_not_begun"), turn=":")):
        (result,) = judge(settings(), evidence(asked(turn=":"), server))
        assert "chat_streamed: choices.0.text: " in result.details
    with pytest.raises(ValidationError, match="turn: must be ':'"):
        asked(turn="x")


def test_missing_answers_and_wrong_ones_are_kept_apart() -> None:
    whole = evidence(asked(), broken())
    lost = replace(whole.exchanges[0], status=0, error="no answer within 60 s", document=None)
    (result,) = judge(settings(), replace(whole, exchanges=(lost, *whole.exchanges[1:])))
    assert result.outcome is Outcome.ERROR
    assert result.measured == {"held": settings().entries - 1, "broken": 0, "unanswered": 1}
    wrong = replace(whole.exchanges[1], document={"choices": [{"text": None}]})
    (result,) = judge(settings(), replace(whole, exchanges=(lost, wrong, *whole.exchanges[2:])))
    assert result.outcome is Outcome.FAIL
    assert result.measured == {"held": settings().entries - 2, "broken": 1, "unanswered": 1}
    (result,) = judge(settings(), Evidence(whole.measured))
    assert result.outcome is Outcome.ERROR
    torn = replace(whole.exchanges[0], error="the connection was closed")
    (result,) = judge(settings(), replace(whole, exchanges=(torn, *whole.exchanges[1:])))
    assert result.outcome is Outcome.FAIL
    assert "closed" in result.message


def test_a_server_of_somebody_elses_need_not_say_what_it_is_busy_with() -> None:
    whole = evidence(asked(), broken())
    without = replace(whole, exchanges=tuple(replace(each, at_rest={}) for each in whole.exchanges))
    (result,) = judge(settings(), without)
    assert "left_after_one_piece: busy: '' expected, got 'the engine does not say'" in result.details
    attached = replace(without, measured=replace(whole.measured, missing={"finished_requests": "no /metrics"}))
    (result,) = judge(settings(), attached)
    assert result.outcome is Outcome.PASS


def test_what_is_computed_on_after_its_client_has_gone_shows_though_it_ends() -> None:
    whole = evidence(asked(), broken())
    gone = [replace(each, went_on=each.name.startswith("left_after")) for each in whole.exchanges]
    (result,) = judge(settings(), replace(whole, exchanges=tuple(gone)))
    assert result.measured == {"held": settings().entries - 2, "broken": 2, "unanswered": 0}
    assert "left_after_one_piece: went_on: False expected, got True" in result.details


def test_entries_may_be_left_out_by_name_only() -> None:
    fewer = asked(leave_out={"echo": "this engine has none"}).exchanges()
    assert len(fewer) == settings().entries - 1
    with pytest.raises(ValidationError, match="'ecko' is no entry"):
        asked(leave_out={"ecko": "spelled wrong"})


@pytest.mark.parametrize(
    ("document", "pieces", "says"),
    [
        (None, (), "status"),
        ("<html>", (), "choices"),
        ({"choices": "none"}, (), "choices"),
        ({"choices": [{"index": 1, "text": "w"}]}, (), "choices.0.text"),
        (None, ("torn",), "choices"),
        (None, ({"choices": [{"index": 0, "text": "w"}]},), "choices.0.text"),
    ],
)
def test_answers_of_any_kind_are_wrong_and_never_an_exception(document: Any, pieces: Any, says: str) -> None:
    came = Exchanged("x", 0 if says == "status" else 200, "", document, pieces, bool(pieces))
    wanted = {"status": 200, "choices": [{"text": " w00", "finish_reason": "stop"}]}
    assert says in next(differences(wanted, observed(came)))


def test_numbers_and_switches_are_not_each_other() -> None:
    assert not list(differences({"a": 1.0, "b": None, "c": [1]}, {"a": 1.00001, "c": [1], "d": 5}))
    for expected, found in (({"a": True}, {"a": 1}), ({"a": 1.0}, {"a": 1.1}), ({"a": [1, 2]}, {"a": [1]}),
                            ({"a": [1]}, {"a": "1"}), ({"a": 1}, {})):  # fmt: skip
        assert list(differences(expected, found))
