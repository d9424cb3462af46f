"""Judging: what passes, what is false, and what cannot be judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import (
    NO_ANSWERS,
    Acceptance,
    Agreement,
    Answers,
    Difference,
    Evidence,
    KvLedger,
    Measurement,
    Miss,
    Primed,
    Unmeasured,
)
from harness.base.settings import Tolerance
from harness.cases.load import load
from harness.cases.model import Case
from harness.checks import (
    acceptance,
    accuracy,
    check,
    corrupted_requests,
    cuda_graphs,
    judge_all,
    kv_transfer,
    parity,
    rearrangements,
    server_config,
    unjudged,
    validity,
)
from harness.engines import ENGINES
from harness.plan.points import everything
from harness.reports.numbers import message
from tests.helpers import BASELINES

ANSWERS = Answers(
    planned=10, answered=10, failed=0, empty=0, scored=10, correct=6, invalid=0, compared=10, equal=10,
    prompt_tokens=810, unexpected_prompt_tokens=0,
)  # fmt: skip
DRAFTED = Acceptance(drafts=100, draft_tokens=300, accepted=200, accepted_per_position=(90, 70, 40))
LEDGER = KvLedger(external=810, local_compute=0, local_cache_hit=0, transfers=10, bytes=5000, failures={})
ORIGIN = "made up for this test"


def answers(**changes: Any) -> Answers:
    return Answers(**{**ANSWERS.__dict__, **changes})


def measured(**changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "answers": {"main": ANSWERS}, "acceptance": DRAFTED, "kv": LEDGER, "finished": 10
    }  # fmt: skip
    return Evidence(Measurement(**{**fields, **changes}))


def length(**changes: Any) -> acceptance.AcceptanceLengthSettings:
    fields = {"expected": 3.0, "direction": "two-sided", "relative_tolerance": 0.05, "n": 100, "origin": ORIGIN}
    return acceptance.AcceptanceLengthSettings.model_validate({**fields, **changes})


def only(results: list[CheckResult]) -> CheckResult:
    (result,) = results
    return result


@pytest.mark.parametrize(
    ("expected", "direction", "tolerance", "outcome"),
    [
        (3.0, "two-sided", {"relative_tolerance": 0.0}, Outcome.PASS),
        (3.15, "two-sided", {"relative_tolerance": 0.05}, Outcome.PASS),  # 2.9925 .. 3.3075
        (3.2, "two-sided", {"relative_tolerance": 0.05}, Outcome.FAIL),  # 3.04 .. 3.36
        (2.8, "two-sided", {"relative_tolerance": 0.05}, Outcome.FAIL),  # 2.66 .. 2.94: better is different too
        (2.8, "at-least", {"relative_tolerance": 0.05}, Outcome.PASS),
        (3.2, "at-least", {"relative_tolerance": 0.05}, Outcome.FAIL),
        (3.2, "two-sided", {"absolute_tolerance": 0.2}, Outcome.PASS),
        (3.3, "two-sided", {"absolute_tolerance": 0.2}, Outcome.FAIL),
    ],
)
def test_acceptance_length(expected: float, direction: str, tolerance: dict[str, float], outcome: Outcome) -> None:
    none = {"relative_tolerance": None, "absolute_tolerance": None}
    config = length(expected=expected, direction=direction, **{**none, **tolerance})
    result = only(acceptance.judge_length(config, measured()))
    assert (result.outcome, result.n) == (outcome, 100)
    if outcome is Outcome.FAIL:
        assert "is 3 tokens per draft, expected" in message(result)


def test_a_message_has_measured_expected_bound_and_n() -> None:
    result = only(acceptance.judge_length(length(expected=3.3), measured()))
    assert message(result) == "acceptance_length is 3 tokens per draft, expected 3.3 (3.135 .. 3.465, n = 100)"
    assert (result.measured, result.expected, result.n, result.unit) == (3.0, 3.3, 100, "tokens per draft")
    assert [result.low, result.high] == pytest.approx([3.135, 3.465])


def accuracy_config(**changes: Any) -> accuracy.AccuracySettings:
    fields = {"expected": 0.6, "direction": "at-least", "absolute_tolerance": 0.0, "n": 10, "origin": ORIGIN}
    return accuracy.AccuracySettings.model_validate({**fields, **changes})


def test_answers_that_cannot_be_read_are_told() -> None:
    result = only(accuracy.judge(accuracy_config(), measured(answers={"main": answers(invalid=3)})))
    assert (result.outcome, result.details) == (Outcome.PASS, "3 of 10 answers hold no answer to read")
    assert only(accuracy.judge(accuracy_config(), measured())).details == ""


@pytest.mark.parametrize(("most", "outcome"), [(0.3, Outcome.PASS), (0.29, Outcome.FAIL), (0.0, Outcome.FAIL)])
def test_answers_that_cannot_be_read_are_bounded(most: float, outcome: Outcome) -> None:
    config = accuracy_config(max_invalid_share=most)
    found = accuracy.judge(config, measured(answers={"main": answers(invalid=3)}))
    assert [(each.name, each.outcome) for each in found] == [("accuracy", Outcome.PASS), ("accuracy_invalid", outcome)]
    assert (found[1].measured, found[1].high, found[1].n) == (0.3, most, 10)
    if outcome is Outcome.FAIL:
        assert found[1].message == "no answer can be read from 3 of 10 answers"


def test_what_was_not_scored_is_not_judged() -> None:
    found = accuracy.judge(accuracy_config(max_invalid_share=0.5), measured(answers={"main": answers(scored=9)}))
    assert [each.outcome for each in found] == [Outcome.ERROR, Outcome.ERROR]


def positions(expected: list[float]) -> acceptance.AcceptancePerPositionSettings:
    fields = {"direction": "at-least", "relative_tolerance": 0.05, "n": 100, "origin": ORIGIN}
    return acceptance.AcceptancePerPositionSettings.model_validate({"expected": expected, **fields})


def test_positions_are_judged_one_by_one_and_better_never_fails() -> None:
    results = acceptance.judge_positions(positions([0.9, 0.8, 0.1]), measured())
    assert [result.outcome for result in results] == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]
    assert [result.name for result in results] == [f"acceptance_per_position[{i}]" for i in range(3)]


def test_another_number_of_positions_cannot_be_judged() -> None:
    results = acceptance.judge_positions(positions([0.9, 0.8]), measured())
    assert {result.outcome for result in results} == {Outcome.ERROR}
    assert "counted 3 positions, the baseline has 2" in results[0].message


def counts(**changes: Any) -> acceptance.DraftCountsSettings:
    fields = {"drafts": 100, "draft_tokens": 300, "accepted": 200, "accepted_per_position": [90, 70, 40]}
    return acceptance.DraftCountsSettings.model_validate({**fields, "origin": ORIGIN, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"drafts": 99}, {"draft_tokens": 297}, {"accepted": 199}, {"accepted_per_position": [89, 71, 40]}],
)
def test_draft_counts_differ_by_one(changes: dict[str, Any]) -> None:
    assert only(acceptance.judge_counts(counts(), measured())).outcome is Outcome.PASS
    result = only(acceptance.judge_counts(counts(**changes), measured()))
    assert result.outcome is Outcome.FAIL
    assert result.measured == {
        "drafts": 100, "draft_tokens": 300, "accepted": 200, "accepted[0]": 90, "accepted[1]": 70, "accepted[2]": 40
    }  # fmt: skip
    assert next(iter(changes)).removesuffix("_per_position") in result.message


@pytest.mark.parametrize("missing", [Unmeasured("no counter"), None])
def test_what_was_not_measured_is_an_error(missing: Unmeasured | None) -> None:
    run = measured(acceptance=missing)
    assert only(acceptance.judge_length(length(), run)).outcome is Outcome.ERROR
    assert only(acceptance.judge_counts(counts(), run)).outcome is Outcome.ERROR
    assert acceptance.judge_positions(positions([0.9]), run)[0].outcome is Outcome.ERROR


def test_no_drafts_fail_everywhere() -> None:
    run = measured(acceptance=Acceptance(0, 0, 0, (0, 0, 0)))
    assert only(acceptance.judge_length(length(), run)).outcome is Outcome.FAIL
    assert only(acceptance.judge_counts(counts(), run)).outcome is Outcome.FAIL
    assert {each.outcome for each in acceptance.judge_positions(positions([0.9, 0.8, 0.7]), run)} == {Outcome.FAIL}
    assert only(validity.judge(run)).outcome is Outcome.FAIL


def accuracy_of(expected: float, **answered: int) -> CheckResult:
    fields = {"direction": "two-sided", "absolute_tolerance": 0.0, "n": 10, "origin": ORIGIN}
    config = accuracy.AccuracySettings.model_validate({"expected": expected, **fields})
    return only(accuracy.judge(config, measured(answers={"main": answers(**answered)})))


def test_accuracy() -> None:
    assert accuracy_of(0.6).outcome is Outcome.PASS
    assert accuracy_of(0.7).outcome is Outcome.FAIL
    assert accuracy_of(0.6, scored=9).outcome is Outcome.ERROR


def test_a_control_is_an_accuracy_of_its_own() -> None:
    config = accuracy.AccuracySettings(
        expected=0.0, direction="two-sided", absolute_tolerance=0.0, n=10, origin=ORIGIN, relative_tolerance=None
    )
    run = measured(answers={"main": ANSWERS, "alone": answers(correct=0)})
    result = only(accuracy.judge(config, run, run="alone"))
    assert (result.name, result.outcome) == ("control[alone]", Outcome.PASS)


def test_parity_counts_whole_texts() -> None:
    fields = {"expected": 1.0, "direction": "two-sided", "absolute_tolerance": 0.0, "n": 10, "origin": ORIGIN}
    config = parity.ParitySettings.model_validate(fields)
    assert only(parity.judge(config, measured())).outcome is Outcome.PASS
    one_off = measured(answers={"main": answers(equal=9)})
    assert only(parity.judge(config, one_off)).outcome is Outcome.FAIL
    assert only(parity.judge(config, measured(answers={"main": answers(compared=0)}))).outcome is Outcome.ERROR


def test_a_comparison_names_the_items_that_differ_and_where() -> None:
    fields = {"expected": 1.0, "direction": "two-sided", "absolute_tolerance": 0.0, "n": 10, "origin": ORIGIN}
    config = parity.ComparisonSettings.model_validate(fields)

    def judged(agreement: Agreement) -> CheckResult:
        return parity.judge_comparison("direct", config, measured(agreement={"direct": agreement}))

    assert (judged(Agreement(10, 10)).name, judged(Agreement(10, 10)).outcome) == ("parity[direct]", Outcome.PASS)
    one_off = judged(Agreement(10, 9, (Difference("K07", 4, "apples", "pears"),)))
    assert (one_off.outcome, message(one_off)) == (
        Outcome.FAIL,
        "1 of 10 texts are others: K07 says 'apples' after 4 equal characters, the comparison is 'pears'",
    )
    assert one_off.details == "K07: equal for 4 characters, then main 'apples', the comparison 'pears'"
    missing = judged(Agreement(9, 9))
    assert missing.outcome is Outcome.ERROR
    assert "9 of 10 items were answered in both runs" in missing.message


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({}, Outcome.PASS, ""),
        ({"primed": Primed(4, 4, 300), "finished": 14}, Outcome.PASS, ""),
        ({"primed": Primed(4, 4, 300)}, Outcome.ERROR, "10 finished requests for 10 answers and 4 priming requests"),
        ({"primed": Primed(4, 3, 200), "finished": 13}, Outcome.ERROR, "3 of 4 priming requests answered"),
        ({"answers": {"main": answers(answered=9, failed=1)}, "finished": 9}, Outcome.ERROR, "1 of 10 requests failed"),
        ({"answers": {"main": answers(answered=9)}, "finished": 9}, Outcome.ERROR, "10 items planned, 9 accounted for"),
        ({"answers": {"main": answers(empty=2)}}, Outcome.FAIL, "2 of 10 answers have no token"),
        ({"answers": {"main": answers(unexpected_prompt_tokens=10)}}, Outcome.FAIL, "a second BOS?"),
        ({"answers": {"main": ANSWERS, "alone": answers(empty=1)}}, Outcome.FAIL, "alone: 1 of 10 answers have no"),
        ({"restarted": {"decode": "drafts is gone"}}, Outcome.ERROR, "decode began anew during the evaluation: drafts"),
        ({"given_up": {"prefill": 2}}, Outcome.ERROR, "prefill gave up 2 requests (aborted, or an error)"),
        ({"finished": 7}, Outcome.ERROR, "the engine counted 7 finished requests for 10 answers"),
        ({"finished": Unmeasured("no counter for finished_requests")}, Outcome.ERROR, "no counter"),
        ({"restarted": {"decode": "gone"}, "answers": {"main": answers(empty=1)}}, Outcome.ERROR, "began anew"),
    ],
)
def test_validity(changes: dict[str, Any], outcome: Outcome, words: str) -> None:
    result = only(validity.judge(measured(**changes)))
    assert result.outcome is outcome
    assert words in result.message


def ledger(**changes: Any) -> KvLedger:
    return KvLedger(**{**LEDGER.__dict__, **changes})


@pytest.mark.parametrize(
    ("found", "outcome", "words"),
    [
        (LEDGER, Outcome.PASS, ""),
        (ledger(external=0, local_compute=810, transfers=0, bytes=0), Outcome.FAIL, "810 of 810 prompt tokens did not"),
        (ledger(external=800, local_cache_hit=10), Outcome.FAIL, "10 of 810 prompt tokens did not come over the wire"),
        (ledger(external=800), Outcome.FAIL, "0 local + 800 transferred prompt tokens do not add up to the 810"),
        (ledger(transfers=9), Outcome.FAIL, "9 transfers for 10 requests"),
        (ledger(failures={"prefill: expired_requests": 2}), Outcome.FAIL, "prefill: expired_requests is 2"),
        (ledger(bytes=4999), Outcome.FAIL, "4999 bytes moved, 5000 expected"),
        (Unmeasured("no counter for transfers"), Outcome.ERROR, "no counter for transfers"),
        (None, Outcome.ERROR, "the case has no KV connector"),
    ],
)
def test_kv_transfer(found: KvLedger | Unmeasured | None, outcome: Outcome, words: str) -> None:
    config = kv_transfer.KvTransferSettings(local_tokens_per_request=0, bytes=5000, origin=ORIGIN)
    result = only(kv_transfer.judge(config, measured(kv=found)))
    assert result.outcome is outcome
    assert words in result.message


# 810 prompt tokens of items, and 200 of what went ahead of them.
@pytest.mark.parametrize(
    ("found", "words"),
    [
        (ledger(external=600, local_cache_hit=210, local_compute=200), ""),
        (ledger(external=610, local_cache_hit=200, local_compute=200), "610 prompt tokens came over the wire, 600 exp"),
        (ledger(external=600, local_cache_hit=209, local_compute=201), "201 prompt tokens computed on the decode side"),
        (ledger(external=600, local_cache_hit=210, local_compute=0), "do not add up to the 1010 of the requests"),
    ],
)
def test_tokens_by_source_are_exact_where_they_are_known(found: KvLedger, words: str) -> None:
    config = kv_transfer.KvTransferSettings(
        external=600, local_cache_hit=210, local_compute=200, bytes=5000, origin=ORIGIN
    )
    result = only(kv_transfer.judge(config, measured(kv=found, primed=Primed(4, 4, 200))))
    assert (result.outcome is Outcome.PASS) == (not words)
    assert words in result.message


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (ledger(external=600, local_cache_hit=210, local_compute=200), ""),
        (
            ledger(external=711, local_cache_hit=99, local_compute=200),
            "99 prompt tokens found in the own cache, at least 100",
        ),
        (ledger(external=599, local_cache_hit=210, local_compute=201), "computed 201, own cache 210; allowed 200"),
    ],
)
def test_cache_hits_are_wanted_where_a_least_number_is_given(found: KvLedger, words: str) -> None:
    config = kv_transfer.KvTransferSettings(local_tokens_per_request=0, min_local_cache_hit=100, origin=ORIGIN)
    result = only(kv_transfer.judge(config, measured(kv=found, primed=Primed(4, 4, 200))))
    assert (result.outcome is Outcome.PASS) == (not words)
    assert words in result.message


@pytest.mark.parametrize(
    "fields",
    [
        {"external": 1, "local_compute": 1},
        {"local_tokens_per_request": 0, "external": 1, "local_compute": 1, "local_cache_hit": 1},
        {"local_tokens_per_request": 0, "external": 1},
        {"min_local_cache_hit": 5, "external": 1, "local_compute": 1, "local_cache_hit": 1},
    ],
)
def test_a_ledger_is_bounded_or_exact(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="local_tokens_per_request"):
        kv_transfer.KvTransferSettings.model_validate({**fields, "origin": ORIGIN})


def test_without_known_bytes_some_must_move() -> None:
    config = kv_transfer.KvTransferSettings(local_tokens_per_request=1, bytes=None, origin=ORIGIN)
    assert only(kv_transfer.judge(config, measured(kv=ledger(external=800, local_compute=10)))).outcome is Outcome.PASS
    assert only(kv_transfer.judge(config, measured(kv=ledger(bytes=0)))).message == "no byte moved"


def test_tolerance_is_of_the_value_itself_or_a_share_of_it() -> None:
    assert Tolerance(relative_tolerance=0.1, absolute_tolerance=None).width(-2.0) == pytest.approx(0.2)
    assert Tolerance(absolute_tolerance=0.1, relative_tolerance=None).width(-2.0) == 0.1
    with pytest.raises(ValueError, match="either"):
        Tolerance(relative_tolerance=None, absolute_tolerance=None)


@pytest.mark.parametrize(("found", "outcome"), [(2, Outcome.PASS), (1, Outcome.FAIL), (0, Outcome.FAIL)])
def test_experts_must_have_been_moved(found: int, outcome: Outcome) -> None:
    config = rearrangements.RearrangementsSettings(at_least=2, origin=ORIGIN)
    events = {"server-0": {"rearrangements": found}, "server-1": {"rearrangements": 0}}
    assert only(rearrangements.judge(config, measured(events=events))).outcome is outcome
    assert only(rearrangements.judge(config, measured())).outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("counted", "restarted", "outcome"),
    [
        ({"a": {"corrupted_requests": 1.0}, "b": {"corrupted_requests": 0.0}}, {}, Outcome.PASS),
        ({"a": {"corrupted_requests": 1.0}, "b": {"corrupted_requests": 1.0}}, {}, Outcome.FAIL),
        ({"a": {"corrupted_requests": 0.0}, "b": {"drafts": 1.0}}, {}, Outcome.ERROR),
        ({}, {}, Outcome.ERROR),
        ({"a": {"corrupted_requests": 0.0}}, {"a": "another process"}, Outcome.ERROR),
    ],
    ids=["as many", "one more", "one does not look", "no server", "restarted"],
)
def test_nan_is_counted_over_all_servers_and_missed_where_one_does_not_look(
    counted: dict[str, Any], restarted: dict[str, str], outcome: Outcome
) -> None:
    settings = corrupted_requests.CorruptedRequestsSettings(at_most=1, origin=ORIGIN)
    found = only(corrupted_requests.judge(settings, measured(counters=counted, restarted=restarted)))
    assert found.outcome is outcome
    if outcome is Outcome.FAIL:
        assert found.message == "NaN in the logits of 2 requests, seen by a, b"


@pytest.mark.parametrize(
    ("log", "count"),
    [
        ("", 0),
        ("INFO Rearranging experts (async mode) (profile)...\nINFO Rearranging experts (async mode) ...\n", 1),
        ("Rearranging experts sync mode ...\nRearranged experts   in 0.10 s.\nRearranging experts sync mode ...\n", 2),
        ("Rearranging experts (profile)...\nRearranging experts...\n", 1),  # versions before asynchronous ones
        ("Rearranging experts sync mode ...\n[EPLB] Skip rearrange: imbalance 1.01 -> 1.00 (no material gain)\n", 0),
    ],
)
def test_rearrangements_are_read_from_the_log_of_vllm(log: str, count: int) -> None:
    assert ENGINES["vllm"].events["rearrangements"](log) == count


NO_GRAPHS = "decode captured no CUDA graphs, or the log says it in other words than known"


@pytest.mark.parametrize(
    ("found", "outcome", "words"),
    [
        ({"prefill": 1, "decode": 2}, Outcome.PASS, ""),
        ({"prefill": 1, "decode": 0}, Outcome.FAIL, NO_GRAPHS),
        ({}, Outcome.ERROR, "could not be judged: nothing to judge: no engine server has a log"),
    ],
)
def test_every_server_must_have_captured_graphs(found: dict[str, int], outcome: Outcome, words: str) -> None:
    events = {name: {"cuda_graphs": times} for name, times in found.items()}
    result = only(cuda_graphs.judge(cuda_graphs.CudaGraphsSettings(origin=ORIGIN), measured(events=events)))
    assert (result.outcome, result.message) == (outcome, words)


def config_check(**asked: dict[str, Any]) -> server_config.ServerConfigSettings:
    return server_config.ServerConfigSettings.model_validate({**asked, "origin": ORIGIN})


def said(**documents: Any) -> Evidence:
    return replace(measured(), configuration=documents)


TOLD = {"topk": 1, "off": False, "graph": {"decode": {"backend": "full"}}, "states": [{"mode": "null"}]}


@pytest.mark.parametrize(
    ("asked", "outcome", "words"),
    [
        ({"equal": {"topk": 1}}, Outcome.PASS, ""),
        ({"equal": {"off": False}}, Outcome.PASS, ""),
        ({"equal": {"states.0.mode": "null"}}, Outcome.PASS, ""),
        ({"not_equal": {"graph.decode.backend": "disabled"}}, Outcome.PASS, ""),
        ({"equal": {"topk": 3}}, Outcome.FAIL, "topk of decode is 1, topk of prefill is 1, expected 3"),
        ({"equal": {"topk": True}}, Outcome.FAIL, "topk of decode is 1, topk of prefill is 1, expected True"),
        ({"not_equal": {"graph.decode.backend": "full"}}, Outcome.FAIL, "is full, expected not full"),
        (
            {"equal": {"graph.prefill.backend": "full"}},
            Outcome.ERROR,
            "decode, prefill does not say graph.prefill.back",
        ),
        ({"not_equal": {"states.1.mode": "null"}}, Outcome.ERROR, "does not say states.1.mode"),
    ],
)
def test_the_configuration_in_force(asked: dict[str, Any], outcome: Outcome, words: str) -> None:
    config = config_check(**asked)
    result = only(server_config.judge(config, said(decode=TOLD, prefill=TOLD)))
    assert result.outcome is outcome
    assert words in result.message
    assert result.name == f"server_config[{next(iter(next(iter(asked.values()))))}]"


def test_one_server_that_is_silent_or_other_than_the_rest() -> None:
    config = config_check(equal={"topk": 1})
    silent = only(server_config.judge(config, said(decode={"topk": 1}, prefill={})))
    assert (silent.outcome, silent.message) == (Outcome.ERROR, "could not be judged: prefill does not say topk")
    other = only(server_config.judge(config, said(decode={"topk": 1}, prefill={"topk": 3})))
    assert (other.outcome, other.message) == (Outcome.FAIL, "topk of prefill is 3, expected 1")
    assert only(server_config.judge(config, measured())).outcome is Outcome.ERROR


@pytest.mark.parametrize("asked", [{}, {"equal": {"a": 1}, "not_equal": {"a": 2}}])
def test_a_question_about_the_configuration_asks_something_once(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give equal or not_equal|in equal and in not_equal"):
        config_check(**asked)


@pytest.mark.parametrize(
    ("drafts", "draft_tokens", "accepted", "outcome"),
    [
        (100, 300, 200, Outcome.PASS),
        (105, 315, 200, Outcome.PASS),
        (110, 330, 200, Outcome.PASS),
        (111, 333, 200, Outcome.FAIL),  # more than there can be
        (99, 297, 200, Outcome.FAIL),
        (105, 314, 200, Outcome.FAIL),  # a placeholder pads all positions
        (105, 315, 201, Outcome.FAIL),  # and is never accepted
    ],
)
def test_placeholders_may_add_drafts_and_nothing_else(
    drafts: int, draft_tokens: int, accepted: int, outcome: Outcome
) -> None:
    config = acceptance.DraftCountsSettings(
        drafts=100, draft_tokens=300, accepted=200, accepted_per_position=[90, 70, 40], placeholders=10, origin=ORIGIN
    )
    counted = Acceptance(drafts, draft_tokens, accepted, (90, 70, 40))
    assert only(acceptance.judge_counts(config, measured(acceptance=counted))).outcome is outcome


CASES = {each.case_file.id: each.case for each in everything(load(BASELINES))}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_is_judged_of_nothing(case: Case) -> None:
    of_case = case.checks, case.controls, case.comparisons
    empty = Measurement(
        answers=dict.fromkeys(("main", *case.controls, *case.comparisons), NO_ANSWERS),
        acceptance=Unmeasured("nothing"),
        kv=KvLedger(0, 0, 0, 0, 0, {}),
        finished=0,
        agreement=dict.fromkeys(case.comparisons, Agreement(0, 0)),
    )
    results = judge_all(*of_case, Evidence(empty))
    assert {each.outcome for each in results} == {Outcome.ERROR}
    skipped = unjudged(*of_case, "eval broke")
    assert {(each.outcome, each.message) for each in skipped} == {(Outcome.SKIPPED, "not judged: eval broke")}
    assert [each.name for each in skipped] == [each.name for each in results]


def test_a_number_that_was_never_observed_cannot_be_judged() -> None:
    result = check.baseline("x", 3.0, 0, length())
    assert (result.outcome, result.message) == (
        Outcome.ERROR,
        "could not be judged: nothing to judge: 0 observations",
    )


def test_a_failure_of_the_main_run_shows_examples() -> None:
    shown = answers(correct=5, missed=(Miss("K07", "31", None, "pears"),), differing=(Difference("K07", 4, "a", "b"),))
    run = measured(answers={"main": shown})
    assert only(accuracy.judge(accuracy_config(), run)).details == "K07: 31 expected, nothing read from 'pears'"
    fields = {"expected": 1.0, "direction": "two-sided", "absolute_tolerance": 0.0, "n": 10, "origin": ORIGIN}
    config = parity.ParitySettings.model_validate(fields)
    assert only(parity.judge(config, run)).details == ""
    differing = measured(answers={"main": answers(equal=9, differing=shown.differing)})
    assert only(parity.judge(config, differing)).details == (
        "K07: equal for 4 characters, then main 'a', known beforehand 'b'"
    )


def test_a_failure_says_in_numbers_what_failed() -> None:
    result = only(validity.judge(measured(answers={"main": answers(empty=2, unexpected_prompt_tokens=1)})))
    assert result.measured == {"answered": 10, "failed": 0, "without_a_token": 2, "with_another_prompt": 1} | {
        "with_another_end": 0,
        "with_another_length": 0,
    }
    assert (result.expected, result.low) == ({"answered": 10}, {"answered": 10})


def test_what_is_in_none_of_its_numbers_is_counted_all_the_same() -> None:
    sound, restarted = measured(), measured(restarted={"server": "5 before, 3 now"})
    numbers = only(validity.judge(sound)).measured
    assert isinstance(numbers, Mapping)
    result = only(validity.judge(restarted))
    assert (result.outcome, result.measured) == (Outcome.ERROR, {**numbers, "problems": 1})
    assert isinstance(result.high, Mapping)
    assert result.high["problems"] == 0
