"""What a calibration proposes and writes, and what `harness check` says of baselines that were measured."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit

from harness.base.domain import Platform
from harness.calibration import case_tables
from harness.calibration.proposal import Asked, Values, passport, proposed, settled
from harness.cases.load import load
from harness.checks.acceptance import AcceptanceLengthSettings
from harness.plan.points import everything
from harness.plan.soundness import of_point
from harness.upkeep import baseline_rules
from tests.helpers import edited

CASE = "draft_model/known_answer"
TODAY = date(2026, 11, 28)
WHERE = {
    "engine": "vllm 0.32.0", "device": "1 x H200", "protocol": "mt_bench_plain", "prompts": "ab" * 32, "concurrency": 4,
    "date": "2026-11-28", "expires": "2027-05-27", "run": "b44d75a633274d6ca2c0a72cc5e7d03f",
}  # fmt: skip


def lengths(*runs: float, n: int = 4000) -> Values:
    return Values("acceptance_length", tuple((each,) for each in runs), n)


def test_a_bound_follows_from_the_noise_for_the_stated_rate() -> None:
    runs = lengths(2.000, 2.006, 1.994, 2.003, 1.997)
    wide, narrow = (proposed(runs, Asked(alpha))["relative_tolerance"] for alpha in (0.001, 0.01))
    assert 0.01 < narrow < wide < 0.03
    assert proposed(runs, Asked(0.001))["expected"] == 2.0
    assert "status" not in proposed(runs, Asked(0.001))


def test_equal_runs_are_red_no_more_often_than_stated() -> None:
    """The whole way, with the rounding of what is written: calibrated, then one run more."""
    draw, red, tries = np.random.default_rng(1), 0, 4000
    for _ in range(tries):
        values = 2 + 0.02 * draw.standard_normal(6)
        table = proposed(lengths(*values[:5]), Asked(0.05))
        red += abs(values[5] - table["expected"]) > table["relative_tolerance"] * table["expected"]
    assert red / tries == pytest.approx(0.05, abs=0.015)


def test_runs_that_do_not_differ_do_not_make_a_bound_of_nothing() -> None:
    assert proposed(lengths(2.0, 2.0, 2.0), Asked(0.001))["relative_tolerance"] == pytest.approx(0.005, abs=2e-4)
    items = Values("accuracy", ((0.5,), (0.5,), (0.5,)), 80)
    assert proposed(items, Asked(0.001))["relative_tolerance"] == pytest.approx(1.5 / 80 / 0.5, abs=2e-4)


@pytest.mark.parametrize(
    ("values", "margin", "why"),
    [
        (lengths(2.0, 2.0), None, "2 runs; 3 at least"),
        (lengths(2.0, 2.2, 1.8), None, "a loss of 10% would pass: it sees one of"),
        (lengths(2.0, 2.01, 1.99, 2.0), 0.01, "its noise needs a bound of"),
        (lengths(2.0, 2.0, 2.0, 2.0), 0.02, ""),
    ],
)
def test_what_cannot_gate_is_provisional(values: Values, margin: float | None, why: str) -> None:
    table = proposed(values, Asked(0.001, margin))
    assert table.get("why", "").startswith(why)
    assert table.get("status") == ("provisional" if why else None)
    if margin == 0.02 and not why:
        assert table["relative_tolerance"] == pytest.approx(0.02, abs=2e-4)


def test_positions_share_the_tolerance_of_the_one_that_needs_the_widest() -> None:
    values = Values("acceptance_per_position", ((0.6, 0.30), (0.601, 0.29), (0.599, 0.31), (0.6, 0.30)), 900)
    table = proposed(values, Asked(0.01))
    assert table["expected"] == [0.6, 0.3]
    assert table["relative_tolerance"] > 4 * 0.01 / 0.3
    assert len(passport(values, Asked(0.01), WHERE)["noise"]) == 2


def test_runs_of_one_start_are_no_witnesses_of_the_next_one() -> None:
    draw = np.random.default_rng(2)
    starts = 2 + 0.02 * draw.standard_normal((6, 1)) + 0.001 * draw.standard_normal((6, 5))
    runs = tuple((float(each),) for each in starts.ravel())
    apart, together = Values("acceptance_length", runs, 900, 5), Values("acceptance_length", runs, 900)
    assert apart.starts == 6
    (part,) = apart.parts
    assert part.within == pytest.approx(0.001, rel=0.4)
    assert part.between == pytest.approx(0.02, rel=0.6)
    wide, narrow = (proposed(each, Asked(0.01))["relative_tolerance"] for each in (apart, together))
    assert wide > 1.3 * narrow
    assert passport(apart, Asked(0.01), WHERE)["repeats"] == 5


def test_enough_is_known_when_every_value_is() -> None:
    close, far = lengths(2.0, 2.001, 1.999), lengths(2.0, 2.1, 1.9)
    assert settled([close], 0.005)
    assert not settled([close, far], 0.005)
    assert not settled([lengths(2.0, 2.0)], 0.005)


PUBLISHED = {
    "serve/model": {"repo": "somebody/something", "revision": "0" * 40},
    "serve/speculation": {
        "method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_min": 1, "prompt_lookup_max": 2,
    },
    "evaluation": {"protocol": "mt_bench_plain", "items": 40, "max_tokens": 100},
    "checks": {},
    "controls": {},
}  # fmt: skip
LENGTH = ("checks", "acceptance_length")
RUNS = lengths(2.0, 2.002, 1.998, 2.001, 1.999, n=2000)


def calibrated(folder: Path, **changes: Any) -> Path:
    """A case with a baseline as it is written, and some keys of its table changed; None takes one away."""
    cases = edited(folder, CASE, PUBLISHED, generate=False)
    asked = Asked(0.001)
    table = proposed(RUNS, asked) | {
        "origin": "harness calibrate: 5 runs", "reason": "x", "passport": passport(RUNS, asked, WHERE),
    }  # fmt: skip
    case_tables.write(load(cases)[0], "cpu", {LENGTH: table}, "2026-11-28")
    path = cases / f"{CASE}.toml"
    document = tomlkit.parse(path.read_text())
    for dotted, value in changes.items():
        *parts, last = dotted.split("/")
        inside: Any = document["checks"]["acceptance_length"]
        for part in parts:
            inside = inside[part]
        if value is None:
            del inside[last]
        else:
            inside[last] = value
    path.write_text(tomlkit.dumps(document))
    return cases


def rules(cases: Path) -> list[str]:
    (point,) = everything(load(cases))
    found = [*baseline_rules.of_point(point, TODAY), *of_point(point)]
    return [each.partition("checks.acceptance_length")[2].lstrip(".: ") for each in found]


def test_what_is_written_is_clean_and_loads(tmp_path: Path) -> None:
    assert rules(calibrated(tmp_path)) == []


PAST = {"expected": 2.0, "relative_tolerance": 0.001, "origin": "measured before", "until": "2026-11-01"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"relative_tolerance": 0.002}, "the bound of 2 is 0.004 wide, and its noise needs"),
        ({"relative_tolerance": 0.1, "passport/reason": "because"}, "a loss of 10% passes"),
        ({"relative_tolerance": 0.05}, "the bound is wider than its noise and its margin ask for; passport.reason"),
        ({"history": [PAST]}, "history: the bound was 0.10% until 2026-11-01 and is wider now; reason: missing"),
        ({"passport/expires": "2026-11-27", "passport/date": "2026-05-01"}, "passport.expires: 2026-11-27 is over"),
        ({"passport/expires": "2027-19-39"}, "passport.expires: 2027-19-39 is over"),
        ({"passport/runs": 2}, "passport.runs: 2 say too little of the noise"),
        ({"passport/noise": [0.1, 0.2]}, "passport.noise: has 2 values, expected 1"),
        ({"passport/concurrency": 5}, "passport.concurrency: measured with 5, the case has 4"),
        ({"passport/protocol": "gsm8k_vllm"}, "passport.protocol: measured with gsm8k_vllm, the case has mt_bench"),
        ({"passport": None}, "passport: missing on cpu: nobody measured what gates"),
        ({"n": 3, "passport": None, "status": "floor"}, "n: 3 drafts, fewer than the 40 answers that need one each"),
        ({"expected": 1.0, "status": "floor"}, "passes at 1.05, where drafts are hardly ever accepted"),
    ],
)
def test_what_is_wrong_with_a_measured_baseline_is_one_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    found = rules(calibrated(tmp_path, **changes))
    assert any(each.startswith(words) for each in found), found


@pytest.mark.parametrize("changes", [
    {"status": "provisional", "relative_tolerance": 0.002},
    {"status": "provisional", "expected": 1.0},  # a run of it is measured, so nothing keeps it from running
    {"n": 3},
    {"passport": None, "status": "borrowed"},
    {"relative_tolerance": 0.05, "passport/reason": "the backend of one host differs"},
    {"history": [PAST | {"reason": "another backend"}]},
])  # fmt: skip
def test_what_says_why_or_does_not_gate_is_fine(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert rules(calibrated(tmp_path, **changes)) == []


def test_on_one_of_several_platforms_only_its_own_table_is_written(tmp_path: Path) -> None:
    table = {
        "expected": 3.0, "direction": "two-sided", "absolute_tolerance": 0.3, "n": 2000, "origin": "somebody's figure",
        "status": "borrowed", "counts": "drafts",
    }  # fmt: skip
    changes = PUBLISHED | {"platforms": ["cpu", "cuda"], "checks": {"acceptance_length": table}}
    cases = edited(tmp_path, CASE, changes, generate=False)
    asked = Asked(0.001)
    new = proposed(RUNS, asked) | {"origin": "harness calibrate: 5 runs", "passport": passport(RUNS, asked, WHERE)}
    case_tables.write(load(cases)[0], "cpu", {LENGTH: {**new, "reason": "measured"}}, "2026-11-28")
    (case_file,) = load(cases)
    there, here = (case_file.resolve(each).checks.acceptance_length for each in ("cuda", "cpu"))
    assert (there.expected, there.status, there.passport) == (3.0, "borrowed", None)
    assert (here.expected, here.status, here.relative_tolerance) == (2.0, "gating", None)
    assert here.absolute_tolerance == pytest.approx(new["relative_tolerance"] * 2.0, rel=1e-3)
    assert isinstance(here, AcceptanceLengthSettings)
    assert (here.history[0].expected, here.history[0].reason) == (3.0, "measured")


POINTS = {
    "one axis": {"tp": {"1": {"serve": {"flags": {"seed": 1}}}, "2": {"serve": {"flags": {"seed": 2}}}}},
    "two axes": {
        "tp": {"1": {"serve": {"flags": {"seed": 1}}}, "2": {"serve": {"flags": {"seed": 2}}}},
        "size": {"a": {"serve": {"flags": {"max-num-seqs": 8}}}, "b": {"serve": {"flags": {"max-num-seqs": 4}}}},
    },
}
GENERAL = {
    "expected": 3.0, "direction": "two-sided", "absolute_tolerance": 0.3, "n": 2000, "origin": "somebody's figure",
    "status": "borrowed",
}  # fmt: skip


def measured_anew(**changes: Any) -> dict[str, Any]:
    new = proposed(RUNS, Asked(0.001)) | {"origin": "harness calibrate: 5 runs", "reason": "measured"}
    return {**new, "passport": passport(RUNS, Asked(0.001), WHERE), **changes}


@pytest.mark.parametrize("platforms", [["cpu"], ["cpu", "cuda"]], ids=["alone", "one of two platforms"])
@pytest.mark.parametrize("axes", POINTS)
def test_a_point_of_a_matrix_gets_a_baseline_of_its_own(tmp_path: Path, axes: str, platforms: list[Platform]) -> None:
    changes = PUBLISHED | {"platforms": platforms, "matrix": POINTS[axes], "checks": {"acceptance_length": GENERAL}}
    cases = edited(tmp_path, CASE, changes, generate=False)
    first, *others = load(cases)[0].matrix("cpu").variants()
    for expected in (2.0, 2.01):  # again: in the same place
        case_tables.write(load(cases)[0], "cpu", {LENGTH: measured_anew(expected=expected)}, "2026-11-28", first)
    (case_file,) = load(cases)
    here = case_file.resolve("cpu", first).checks.acceptance_length
    assert (here.expected, here.status, here.passport.runs) == (2.01, "gating", 5)
    assert [past.expected for past in here.history] == [3.0, 2.0]
    elsewhere = [case_file.resolve("cpu", each) for each in others]
    elsewhere += [case_file.resolve(each, first) for each in platforms if each != "cpu"]
    found = {(each.checks.acceptance_length.expected, each.checks.acceptance_length.status) for each in elsewhere}
    assert found == {(3.0, "borrowed")}
    assert (cases / f"{CASE}.toml").read_text().count("harness calibrate: 5 runs") == 2  # one of them in the history


def test_what_stands_above_a_label_does_not_hide_what_was_measured(tmp_path: Path) -> None:
    rule = {
        "match": {"tp": "1"},
        "reason": "a figure for this point",
        "set": {"checks": {"acceptance_length": GENERAL}},
    }
    changes = PUBLISHED | {"matrix": POINTS["one axis"], "when": [rule], "checks": {"acceptance_length": GENERAL}}
    cases = edited(tmp_path, CASE, changes, generate=False)
    first = next(load(cases)[0].matrix("cpu").variants())
    case_tables.write(load(cases)[0], "cpu", {LENGTH: measured_anew()}, "2026-11-28", first)
    assert load(cases)[0].resolve("cpu", first).checks.acceptance_length.expected == 2.0


def test_flips_of_a_comparison_are_measured_too() -> None:
    values = Values("comparisons.direct", ((1.0,), (0.975,), (1.0,), (0.975,), (0.975,)), 80)
    assert values.key == ("comparisons", "direct")
    table = proposed(values, Asked(0.01))
    assert (table["expected"], table["direction"], table["n"]) == (0.985, "at-least", 80)
    assert 1.5 / 80 < table["relative_tolerance"] * 0.985 < 0.06  # a few flips of 80, and no more
