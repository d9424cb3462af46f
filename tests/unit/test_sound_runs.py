"""What an engine says of its own state: how answers end, what it counted on both sides, and what it holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome, Sample
from harness.base.evidence import OtherEnd, Preempted, Prefilled, Tokens
from harness.checks import kv_transfer
from harness.engines import ENGINES, metrics
from harness.engines.counting import contradictions
from harness.engines.vllm_metrics import FINDINGS, METRICS, capacity
from harness.run.judge import judge
from harness.run.measure import Shown, measure
from harness.run.rundir import RunDir
from harness.run.scoring import count
from tests.finished import DISAGG, SINGLE, finished
from tests.unit.test_measure import CASE, COUNTED, PREFILL, ROLES, sample


def known(item: str = "K60", **changes: Any) -> Sample:
    ends = {"expected_completion_tokens": 3, "expected_finish_reason": "stop"}
    return replace(sample(item), **{**ends, **changes})


def test_an_answer_that_is_known_has_a_known_end() -> None:
    found = count(
        CASE.evaluation,
        [
            known(),
            known("K61", finish_reason="length"),
            known("K62", completion_tokens=4),
            known("K63", text="another text", completion_tokens=9, finish_reason="length"),
        ],
    )
    assert (found.other_ends, found.other_lengths) == (1, 1), "of another text it is known that it is wrong"
    assert found.odd == (
        OtherEnd("K61", "finish_reason", "length", "stop"),
        OtherEnd("K62", "completion_tokens", "4", "3"),
    )


def test_an_answer_that_nobody_knows_is_cut_off_only_by_a_limit() -> None:
    def free(item: str, tokens: int, reason: str) -> Sample:
        return replace(sample(item), expected_text=None, completion_tokens=tokens, finish_reason=reason)

    full = CASE.evaluation.max_tokens
    assert count(CASE.evaluation, [free("A", full, "length"), free("B", 3, "stop"), free("C", full, "stop")]).odd == ()
    longest = replace(free("A", full, "stop"), prompt_tokens=900)
    assert count(CASE.evaluation, [longest, free("B", 3, "length")]).odd == (
        OtherEnd("B", "finish_reason", "length after 3", f"{full} tokens where it is"),
    )
    assert count(CASE.evaluation, [free("A", 3, "length")]).odd == (), "perhaps its context was at its end"
    assert count(CASE.evaluation, [free("A", full + 1, "stop")]).odd == (
        OtherEnd("A", "completion_tokens", str(full + 1), f"at most {full}"),
    )


def test_a_sample_whose_status_is_not_200_is_no_answer() -> None:
    assert count(CASE.evaluation, [known(), known("K61", status=500)]).failed == 1


def counted(decode: dict[str, float], prefill: dict[str, float], **shown: Any) -> Any:
    zero = {name: dict.fromkeys(each, 0.0) for name, each in (("prefill", prefill), ("decode", decode))}
    return measure(CASE, [sample()], zero, {"prefill": prefill, "decode": decode}, ROLES, shown=Shown(**shown))


def test_what_the_prefill_side_did_is_kept_beside_what_was_asked() -> None:
    prefill = PREFILL | {"finished_requests.length": 1.0, "all_prompt_tokens": 81.0, "generated_tokens": 1.0}
    found = counted(COUNTED | {"all_prompt_tokens": 81.0, "generated_tokens": 3.0}, prefill)
    assert found.prefilled == Prefilled(finished=1, prompt_tokens=81, generated=1, asked=1, asked_tokens=81)
    assert found.tokens == Tokens(prompt=81, generated=3)


def test_requests_that_were_put_back_are_kept_with_the_room_there_was() -> None:
    found = counted(COUNTED | {"preempted_requests": 2.0}, PREFILL, capacity={"decode": 33600, "prefill": None})
    assert found.preempted == {"decode": Preempted(2, 33600 / (4 * 84))}


SOUND = {
    "drafts": 10.0, "draft_tokens": 30.0, "accepted": 12.0, "accepted_at.0": 7.0, "accepted_at.1": 4.0,
    "accepted_at.2": 1.0, "all_prompt_tokens": 50.0, "prompt_tokens.local_compute": 20.0,
    "prompt_tokens.external_kv_transfer": 30.0, "transfers": 2.0, "transfer_sizes": 2.0, "transfer_bytes": 100.0,
}  # fmt: skip


def test_counters_of_one_rank_agree_with_each_other() -> None:
    assert contradictions(SOUND) == []
    assert contradictions(dict.fromkeys(SOUND, 0.0)) == []
    assert contradictions({}) == []


@pytest.mark.parametrize("name", SOUND)
def test_a_counter_that_contradicts_the_others_is_named(name: str) -> None:
    alone = {"drafts": -10.0, "draft_tokens": -30.0, "transfer_bytes": -100.0}  # they bound the others and no more
    assert contradictions(SOUND | {name: SOUND[name] + alone.get(name, 1.0)})


def test_each_rank_is_looked_at_by_itself() -> None:
    text = "".join(
        f'vllm:prompt_tokens_total{{engine="{rank}"}} {total}\n'
        f'vllm:prompt_tokens_by_source_total{{engine="{rank}",source="local_compute"}} {computed}\n'
        for rank, total, computed in ((0, 5.0, 6.0), (1, 6.0, 5.0))
    )
    ranks = metrics.by_rank(text, METRICS, "engine")
    assert contradictions(metrics.read(text, METRICS)) == [], "in the sum it does not show"
    assert {rank: contradictions(each) for rank, each in ranks.items()} == {
        "0": ["5 prompt tokens, and 6 by source"],
        "1": ["6 prompt tokens, and 5 by source"],
    }


def test_a_kv_cache_has_room_for_what_its_smallest_rank_has() -> None:
    told = 'vllm:cache_config_info{{engine="{}",num_gpu_blocks="{}",block_size="32"}} 1.0\n'
    assert capacity(metrics.infos(told.format(0, 100) + told.format(1, 90))) == 2880
    assert capacity(metrics.infos(told.format(0, 100) + told.format(1, "None"))) is None
    assert capacity({}) is None


def test_lines_of_a_log_that_say_that_something_is_broken_are_counted() -> None:
    log = "INFO ok\nERROR Potentially invalid KV blocks for unrecognized request x were retrieved by a decode worker\n"
    assert ENGINES["vllm"].inside.found(log * 3) == {next(iter(FINDINGS)): 3}
    assert ENGINES["vllm"].inside.found("INFO all is well\n") == {}


def wrong(rundir: RunDir) -> dict[str, str]:
    """Message of each check that is red."""
    return {each.name: each.message for each in judge(rundir).checks if each.outcome in (Outcome.FAIL, Outcome.ERROR)}


@pytest.mark.parametrize(
    ("faults", "check", "words"),
    [
        ({"held": 0.01}, "at_rest", "0.04 of the KV cache in use after the main run, when nothing was asked, 0 before"),
        ({"stuck": 1}, "at_rest", "1 running requests before the main run, when nothing was asked"),
        ({"other_end": "length"}, "validity", "4 of 4 answers have another finish_reason than they can have"),
    ],
)  # fmt: skip
def test_an_engine_that_answers_right_and_is_broken_is_red(faults: Any, check: str, words: str, tmp_path: Path) -> None:
    found = wrong(finished(tmp_path, SINGLE, {"server": faults}))
    assert set(found) == {check}
    assert words in found[check]


@pytest.mark.parametrize("side", ["prefill", "decode"])
def test_either_side_must_come_to_rest(side: str, tmp_path: Path) -> None:
    found = wrong(finished(tmp_path, DISAGG, {side: {"held": 0.001}}))
    assert set(found) == {"at_rest"}
    assert found["at_rest"].startswith(f"{side}: ")


def older(rundir: RunDir) -> None:
    """As a version wrote it that did not look."""
    document = json.loads(rundir.case_file.read_text())
    rundir.case_file.write_text(json.dumps({key: each for key, each in document.items() if key != "layout"}))
    for path in (rundir.path / "footprints.json", rundir.path / "measurements.json", *rundir.metrics.glob("rest-*")):
        path.unlink()
    path = rundir.path / "samples.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    for line in lines:
        del line["expected_completion_tokens"], line["expected_finish_reason"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_what_an_earlier_version_recorded_is_still_judged(tmp_path: Path) -> None:
    rundir = finished(tmp_path, DISAGG)
    older(rundir)
    result = judge(RunDir.existing(rundir.path))
    assert result.outcome is Outcome.PASS
    (rest,) = (each for each in result.checks if each.name == "at_rest")
    assert (rest.outcome, rest.message) == (
        Outcome.SKIPPED,
        "not measured: recorded by an earlier version of the harness, which did not look",
    )


@pytest.mark.parametrize(
    ("prompt_tokens", "left", "sound"), [(81, 0, True), (80, 0, False), (81, 1, True), (80, 1, True), (79, 1, False)]
)
def test_prompts_lack_on_the_prefill_side_what_is_left_to_decode_or_nothing(
    prompt_tokens: int, left: int, sound: bool
) -> None:
    prefilled = Prefilled(finished=1, prompt_tokens=prompt_tokens, generated=1, asked=1, asked_tokens=81)
    assert (not list(kv_transfer._of_prefill(prefilled, left))) is sound
