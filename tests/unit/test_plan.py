"""From case files to what runs: matrices, devices, shards, changed files; and the rules over all cases."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.domain import Stage
from harness.base.errors import NothingSelected, UsageError
from harness.cases.load import load
from harness.devices.accelerators import on_paper
from harness.plan import limits
from harness.plan.listing import MATRIX_LIMIT, render
from harness.plan.points import Planned, everything, shard, sources, touched, within
from harness.plan.show import show
from harness.run.selection import matching, select
from harness.upkeep.rules import Checkout, problems
from tests.helpers import BASELINES, REPOSITORY, edited

DISAGG, SINGLE = "disagg/known_answer_eagle3", "draft_model/known_answer"
TP = {"1": {"serve": {"tensor_parallel_size": 1}}, "4": {"serve": {"tensor_parallel_size": 4}}}
BACKEND = {name: {"serve": {"flags": {"attention-backend": name}}} for name in ("FLASH_ATTN", "FLASHINFER")}
EXPERT_PARALLEL = {
    "match": {"tp": "4"},
    "reason": "the shape of an FP8 block breaks at tensor parallel size 4 without it",
    "set": {"serve": {"flags": {"enable-expert-parallel": True}}},
}
NO_FLASHINFER = {"match": {"backend": "FLASHINFER"}, "reason": "no attention sinks", "since": "2026-06-02"}
MATRIX: dict[str, Any] = {
    "platforms": ["cuda", "cpu"],
    "platform/cuda/matrix/tp": TP,
    "platform/cuda/matrix/backend": BACKEND,
    "platform/cuda/when": [EXPERT_PARALLEL],
}


@cache
def ours() -> list[Planned]:
    """All points of our cases."""
    return everything(load(BASELINES))


def points(folder: Path, changes: dict[str, Any], case: str = SINGLE) -> list[Planned]:
    return everything(load(edited(folder, case, changes)))


def excluded(rule: dict[str, Any]) -> dict[str, Any]:
    """A change with an ``[[exclude]]`` whose date is one."""
    from datetime import date

    return {"platform/cuda/exclude": [{**rule, "since": date.fromisoformat(rule["since"])}]}


def test_a_matrix_is_the_product_of_its_axes_on_the_platform_that_has_them(tmp_path: Path) -> None:
    found = points(tmp_path, MATRIX)
    assert [each.id for each in found if each.platform == "cuda"] == [
        f"{SINGLE}[tp={tp},backend={backend}]" for tp in ("1", "4") for backend in ("FLASH_ATTN", "FLASHINFER")
    ]
    assert [each.id for each in found if each.platform == "cpu"] == [SINGLE]
    last = found[-1] if found[-1].platform == "cuda" else found[-2]
    assert last.case.serve.tensor_parallel_size == 4
    assert last.devices == 4
    assert last.case.serve.flags["attention-backend"] == "FLASHINFER"


def test_what_only_some_points_need(tmp_path: Path) -> None:
    flags = {each.id: each.case.serve.flags for each in points(tmp_path, MATRIX)}
    with_it = {name for name, found in flags.items() if found.get("enable-expert-parallel")}
    assert with_it == {name for name in flags if "tp=4" in name}


def test_an_excluded_point_is_planned_with_its_reason_and_does_not_run(tmp_path: Path) -> None:
    folder = edited(tmp_path, SINGLE, MATRIX | excluded(NO_FLASHINFER))
    found = matching(folder, wanted=[], platform="cuda")
    assert len(found) == 4
    skipped = [each for each in found if each.skip]
    assert {each.skip for each in skipped} == {"no attention sinks (since 2026-06-02)"}
    assert all("FLASHINFER" in each.id for each in skipped)
    assert [each.skip for each in select(folder, wanted=[SINGLE], platform="cuda")].count("") == 2
    with pytest.raises(NothingSelected, match="does not run: no attention sinks"):
        select(folder, wanted=[skipped[0].id], platform="cuda")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"platform/cuda/when": [{**EXPERT_PARALLEL, "match": {"tpp": "4"}}]},
            "when[0].match.tpp: no such axis; did you mean 'tp'?",
        ),
        (
            {"platform/cuda/when": [{**EXPERT_PARALLEL, "match": {"tp": "8"}}]},
            "when[0].match.tp: no label '8' on this axis",
        ),
        ({"platform/cuda/when": [{"match": {"tp": "4"}, "set": {"serve": {}}}]}, "when.0.reason: missing"),
        (excluded({**NO_FLASHINFER, "match": {"backend": "FLASHINFR"}}), "did you mean 'FLASHINFER'?"),
        ({"platform/cuda/exclude": [{"match": {"tp": "4"}, "reason": "it crashes there"}]}, "exclude.0.since: missing"),
        ({"platform/cuda/matrix/tp/2": {"serve": {"tensor_parallel_sise": 2}}}, "tensor_parallel_sise: unknown key"),
        (
            {f"platform/cuda/matrix/axis_{axis}": {str(label): {} for label in range(10)} for axis in range(12)},
            "points, 1000 at most a case; drop labels, or make several cases of it",
        ),
    ],
    ids=["axis", "label", "reason", "near label", "date", "overlay", "points"],
)
def test_a_wrong_matrix_is_one_line(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        points(tmp_path, MATRIX | changes)
    assert "known_answer.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_suite_has_defaults_of_its_own_below_its_cases(tmp_path: Path) -> None:
    folder = edited(tmp_path, SINGLE, {})
    suite = folder / "draft_model" / "_suite.toml"
    suite.write_text(suite.read_text() + "[defaults.serve.flags]\nseed = 7\nblock-size = 16\n")
    flags = load(folder)[0].resolve("cpu").serve.flags
    assert (flags["seed"], flags["block-size"]) == (7, 32)
    suite.write_text(suite.read_text().replace("paths = [", "pahts = ["))
    with pytest.raises(UsageError, match=r"_suite\.toml: pahts: unknown key; did you mean 'paths'\?"):
        load(folder)
    suite.unlink()
    found = problems(everything(load(folder)), WORKFLOWS, None)
    assert found == [
        f"suite draft_model: {key}: missing; add it to draft_model/_suite.toml" for key in ("title", "paths")
    ]


def test_too_few_devices_are_said_with_the_numbers_and_indices_never_wrap(tmp_path: Path) -> None:
    disagg = {"platforms": ["cuda"], "serve/tensor_parallel_size": 2, "roles/decode/data_parallel_size": 2}
    (each,) = points(tmp_path, disagg, DISAGG)
    assert each.devices == 2 + 4
    assert within([each], 6)[0].skip == ""
    assert within([each], 5)[0].skip == "needs 6 devices, there are 5"


def test_servers_of_one_device_can_share_it_and_wider_ones_cannot(tmp_path: Path) -> None:
    shared = {"platforms": ["cuda", "cpu"], "device_share_gib": 6, "serve/flags/kv-cache-memory-bytes": 1 << 30}
    on_cpu, small = points(tmp_path / "small", shared, DISAGG)
    assert (small.devices, small.least_devices, small.share) == (2, 1, 6 << 30)
    assert (on_cpu.devices, on_cpu.least_devices, on_cpu.share) == (0, 0, 0)
    assert within([small], 1)[0].skip == ""
    assert "# 2 devices or fewer, shared: 6 GiB for each server, about" in show(small, "CUDA_VISIBLE_DEVICES")
    _, wide = points(tmp_path / "wide", shared | {"roles/decode/tensor_parallel_size": 2}, DISAGG)
    assert (wide.devices, wide.least_devices, wide.share) == (3, 3, 0)
    assert within([wide], 2)[0].skip == "needs 3 devices, there are 2"


def test_changed_files_select_suites(tmp_path: Path) -> None:
    found = ours()
    mixin = "vllm/v1/worker/kv_connector_model_runner_mixin.py"
    assert {each.suite for each in touched(found, [mixin]) if not each.skip} >= {"disagg"}
    assert {each.suite for each in touched(found, ["vllm/distributed/kv_transfer/x.py"]) if not each.skip} == {
        "disagg",
        "spec_disagg",
    }
    assert all(
        each.skip for each in touched(found, ["docs/index.md", "vllm/v1/spec_decode_not/x.py", "vllm/envs.py.orig"])
    )


@given(count=st.integers(1, 5))
def test_shards_are_disjoint_and_complete(count: int) -> None:
    found = ours()
    running = sorted((each.id, each.platform) for each in found if not each.skip)
    parts = [shard(found, index, count) for index in range(1, count + 1)]
    assert sorted((each.id, each.platform) for part in parts for each in part if not each.skip) == running
    # What takes most first, to the part with the least: no two are further apart than the least of the fullest part.
    loads = [[each.device_seconds for each in part if not each.skip] for part in parts]
    heaviest, lightest = max(loads, key=sum), min(loads, key=sum)
    assert sum(heaviest) - sum(lightest) <= min(heaviest)


def test_a_shard_takes_the_longest_point_first() -> None:
    found = sorted((each for each in ours() if not each.skip), key=lambda each: each.case.expected_seconds)
    short, long = found[:2], found[-1]
    assert sum(each.case.expected_seconds for each in short) < long.case.expected_seconds
    parts = [shard([*short, long], index, 2) for index in (1, 2)]
    assert sorted(map(len, parts)) == [1, 2]
    assert [long] in parts


def test_a_shard_counts_the_devices_of_a_point_and_what_was_learned_of_it() -> None:
    narrow, *others = [each for each in ours() if not each.skip and each.platform == "cuda" and each.devices == 1][:4]
    wide = next(each for each in ours() if each.devices == 4 and not each.skip)
    four = [replace(wide, learned=100.0), *(replace(each, learned=130.0) for each in (narrow, *others[:2]))]
    parts = [shard(four, index, 2) for index in (1, 2)]
    assert sorted([each.devices for each in part] for part in parts) == [[1, 1, 1], [4]]
    learned = [replace(narrow, learned=1e6), *others]
    assert [narrow.id] in [[each.id for each in shard(learned, index, 2)] for index in (1, 2)]


def test_a_plan_in_all_its_forms(tmp_path: Path) -> None:
    found = within(points(tmp_path, MATRIX | excluded(NO_FLASHINFER)), 1)
    entries = json.loads(render(found, "json", on_paper))
    assert [entry["runs"] for entry in entries] == [not each.skip for each in found]
    assert {entry["reason"] for entry in entries if not entry["runs"]} >= {"needs 4 devices, there are 1"}
    for entry, each in zip(entries, found, strict=True):
        assert entry["devices"] == each.devices
        assert entry["servers"][0]["argv"][:2] == ["vllm", "serve"]
    running = sum(not each.skip for each in found)
    table = render(found, "table", on_paper)
    assert "needs 4 devices, there are 1" in table
    assert f"{running} of {len(found)} run" in table


def test_a_matrix_for_github_has_a_job_for_each_session_and_number_of_devices(tmp_path: Path) -> None:
    found = points(tmp_path, MATRIX | excluded(NO_FLASHINFER) | {"expected_seconds": 90})
    jobs = json.loads(render(found, "github", on_paper))["include"]
    assert [(job["name"], job["runs_on"]) for job in jobs] == [
        ("draft_model_cpu", ["self-hosted", "cpu"]),
        ("draft_model_cuda-1", ["self-hosted", "cuda", "gpu-1"]),
        ("draft_model_cuda-4", ["self-hosted", "cuda", "gpu-4"]),
    ]
    assert jobs[2]["cases"].splitlines() == [each.id for each in found if not each.skip and each.devices == 4]
    assert [job["wait_for_devices"] for job in jobs] == [0, 1800, 1800]


def test_a_job_may_take_longer_than_all_that_may_happen_in_it() -> None:
    """Computed here from the cases' own limits, whatever the estimates are."""
    found = ours()
    for job in json.loads(render(found, "github", on_paper))["include"]:
        ids = set(job["cases"].splitlines())
        inner = [each.case.timeouts for each in found if each.platform == job["platform"] and each.id in ids]
        assert len(inner) == len(ids)
        # The engine may be asked for its environment and for its imports; each of them, and the start, has `start`. For
        # its flags there are two minutes twice.
        seconds = sum(3 * each.start + 2 * min(each.start, 120) + each.evaluation + each.stop for each in inner)
        seconds += job["wait_for_devices"] * len(inner)
        assert job["timeout_minutes"] * 60 > seconds + 30 * 60, job["name"]
        # GitHub's own runners end a job after six hours, others after five days.
        assert job["timeout_minutes"] <= (360 if job["platform"] == "cpu" else 5 * 24 * 60), job["name"]


def test_limits_contain_one_another_and_the_estimates() -> None:
    for each in ours():
        case = each.case
        assert case.timeouts.request < case.timeouts.evaluation < limits.stage(case, Stage.EVAL), each.id
        assert case.timeouts.start < limits.stage(case, Stage.HEALTH_WAIT), each.id
        assert case.timeouts.stop < limits.stage(case, Stage.STOP), each.id
        assert sum(limits.stage(case, which) for which in Stage) <= limits.point(case) < limits.job_minutes([case]) * 60
        assert case.expected_seconds < case.timeouts.start + case.timeouts.evaluation, each.id


def test_a_job_that_github_would_end_is_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOB_MOST", 100)
    found = [each for each in ours() if each.session == "disagg_cpu"]
    with pytest.raises(
        UsageError, match=r"disagg_cpu: a job of 9 points may take \d+ minutes, and GitHub gives one 100"
    ):
        render(found, "github", on_paper)


def test_every_point_that_runs_is_in_exactly_one_job_of_a_matrix_that_github_takes() -> None:
    found = ours()
    jobs = json.loads(render(found, "github", on_paper))["include"]
    in_jobs = sorted((case, job["platform"]) for job in jobs for case in job["cases"].splitlines())
    assert in_jobs == sorted((each.id, each.platform) for each in found if not each.skip)
    assert len({job["name"] for job in jobs}) == len(jobs) <= MATRIX_LIMIT
    for job in jobs:
        together = [each for each in found if each.session == job["session"] and each.devices == job["devices"]]
        assert {each.case.engine.name for each in together} == {job["engine"]}


@dataclass(frozen=True)
class Numbered(Planned):
    number: int = 0

    @property
    def session(self) -> str:
        return f"session_{self.number}"


def test_more_jobs_than_github_takes_is_said_before_github_does() -> None:
    one = next(each for each in ours() if not each.skip)
    sessions = [Numbered(one.case_file, one.platform, one.variant, number=number) for number in range(MATRIX_LIMIT + 1)]
    assert len(json.loads(render(sessions[1:], "github", on_paper))["include"]) == MATRIX_LIMIT
    with pytest.raises(UsageError, match="257 jobs, and GitHub takes 256 a matrix"):
        render(sessions, "github", on_paper)


def test_a_case_is_shown_as_lines_for_a_shell() -> None:
    shown = {(each.id, each.platform): show(each, on_paper(each.platform)) for each in ours()}
    lines = shown[DISAGG, "cpu"].splitlines()
    assert sum(line.endswith(" &") for line in lines) == 3
    assert 'ln -sfn "$CHECKPOINTS/twin_decode" model' in lines
    assert any(line.startswith("curl http://127.0.0.1:8004/v1/completions --json ") for line in lines)
    for each in ours():
        for name, table in each.case.checks.model_dump(exclude_none=True).items():
            assert f"# check {name}: " in shown[each.id, each.platform]
            assert f"#   {table['origin']}" in shown[each.id, each.platform]
        for name in each.case.comparisons:
            assert f"# check parity[{name}]: " in shown[each.id, each.platform]


WORKFLOWS = {"ci.yml": "session: [disagg_cpu, draft_model_cpu, draft_model_cuda]"}
BROKEN: list[tuple[str, dict[str, Any], str]] = [
    (
        SINGLE,
        {"checks/acceptance_length/expected": 3.5},
        "checks.acceptance_length: expected 3.5, but 1 + the sum over positions is 4.00273 on cpu",
    ),
    (
        SINGLE,
        {
            "checks/acceptance_length/expected": 1.01,
            "checks/acceptance_per_position/expected": [0.01, 0.0, 0.0, 0.0, 0.0],
        },
        "checks.acceptance_length: passes at 1.05",
    ),
    (SINGLE, {"checks/accuracy/absolute_tolerance": 0.8}, "checks.accuracy: passes with no right answer at all"),
    *(
        (SINGLE, {f"checks/accuracy/{key}": value for key, value in changes.items()}, f"checks.accuracy: {words}")
        for changes, words in (
            ({"expected": 0.0, "absolute_tolerance": 0.0}, "passes with no right answer at all"),
            ({"expected": 0.05, "absolute_tolerance": 0.05}, "passes with no right answer at all"),
            ({"expected": 0.3, "absolute_tolerance": 0.1 * 3}, "passes with no right answer at all"),
            ({"expected": 0.0, "absolute_tolerance": 0.0, "direction": "at-least"}, "passes with no right answer"),
            ({"expected": 0.19, "absolute_tolerance": 0.18}, "its tolerance of 0.18 takes more than half of what is"),
        )
    ),
    (SINGLE, {"checks/parity/absolute_tolerance": 1.0}, "checks.parity: passes with no equal text at all"),
    (
        SINGLE,
        {
            "checks/acceptance_length/relative_tolerance": None,
            "checks/acceptance_length/absolute_tolerance": 2.5,
        },
        "checks.acceptance_length: its tolerance of 2.5 takes more than half of what is expected",
    ),
    (
        SINGLE,
        {
            "checks/acceptance_per_position/relative_tolerance": None,
            "checks/acceptance_per_position/absolute_tolerance": 0.4,
        },
        "checks.acceptance_per_position: position 4 passes with no draft accepted at all",
    ),
    (
        SINGLE,
        {"checks/draft_counts/accepted": 0},
        "checks.draft_counts: passes with no draft accepted at all",
    ),
    (SINGLE, {"checks/acceptance_length/n": 3}, "checks.acceptance_length: n: 3 drafts, fewer than the 100 answers"),
    (
        SINGLE,
        {"checks/acceptance_length/n": 12801, "checks/acceptance_per_position/n": 12801},
        "checks.acceptance_per_position: n: 12801 drafts, more than the 12800 tokens that are asked for",
    ),
    (SINGLE, {"checks/acceptance_length/n": 1100}, "n: 1099 drafts, in checks.acceptance_length 1100"),
    (
        SINGLE,
        {"checks/acceptance_length/n": 1100, "checks/acceptance_per_position/n": 1100},
        "checks.acceptance_length: n: is 1100, the case makes 1099 drafts",
    ),
    (
        DISAGG,
        {"controls/prefill_alone/expected": 0.5, "controls/prefill_alone/absolute_tolerance": 0.2},
        "controls.prefill_alone: passes with the accuracy of the main run, 0.625: it shows nothing",
    ),
    (
        DISAGG,
        {"controls/prefill_alone/direction": "at-least"},
        "controls.prefill_alone: passes with the accuracy of the main run, 0.625: it shows nothing",
    ),
    (
        DISAGG,
        {"roles/prefill/env": {"UCX_SWITCH": "1"}, "roles/decode/env": {"UCX_SWITCH": "True"}},
        "serve.env.UCX_SWITCH: one value in two spellings: '1' in disagg/known_answer_eagle3, 'True' in",
    ),
    (
        "disagg/known_answer_edges",
        {"serve/flags/block-size": 64},
        "evaluation.block_size: is 32 on cpu, serve.flags.block-size is 64",
    ),
    (
        "disagg/known_answer_parity",
        {"comparisons/direct/absolute_tolerance": 1.0},
        "comparisons.direct: passes with no equal text at all",
    ),
    (
        "disagg/known_answer_parity",
        {"serve/flags/enable-prefix-caching": None},
        "comparisons.direct: the prefix cache of the decode side answers it with what was transferred",
    ),
    (
        SINGLE,
        MATRIX | excluded({**NO_FLASHINFER, "match": {"backend": ["FLASHINFER", "FLASH_ATTN"]}}),
        "every point of its matrix is excluded on cuda",
    ),
    (SINGLE, {"platforms": ["cuda"]}, "cpu_twin: missing; name one, or write"),
    (SINGLE, {"platforms": ["cuda"], "cpu_twin": "mtp/nothing"}, "cpu_twin: 'mtp/nothing' is no case that runs on cpu"),
    (SINGLE, {"serve/flags/enable-eplb": True}, "checks.rearrangements: missing though enable-eplb is set"),
    (
        SINGLE,
        {"serve/env/VLLM_COMPUTE_NANS_IN_LOGITS": "1"},
        "checks.corrupted_requests: missing though VLLM_COMPUTE_NANS_IN_LOGITS is set",
    ),
]


@pytest.mark.parametrize(("case", "changes", "words"), BROKEN, ids=[words[:30] for _, _, words in BROKEN])
def test_every_rule_finds_what_it_is_for(tmp_path: Path, case: str, changes: dict[str, Any], words: str) -> None:
    found = problems(everything(load(edited(tmp_path, case, changes))), WORKFLOWS, None)
    assert any(words in problem for problem in found), found


def sessions_not_run(texts: dict[str, str]) -> set[str]:
    found = problems(ours(), texts, None)
    return {each.split(":")[0].removeprefix("session ") for each in found if "no workflow runs it" in each}


def test_a_session_that_no_workflow_runs_is_found_even_if_a_comment_names_it() -> None:
    texts = {str(path): path.read_text() for path in (REPOSITORY / ".github" / "workflows").glob("*.yml")}
    assert problems(ours(), texts, None) == []
    everywhere = {each.session for each in ours() if each.on_menu}
    # What happened upstream: a sweep moved behind a switch that no step of CI sets, and was gone.
    for platform in ("cpu", "rocm"):
        of_it = {name for name in everywhere if name.endswith(f"_{platform}")}
        gone = {path: text.replace(f"--platform {platform}", "--platform cuda") for path, text in texts.items()}
        assert sessions_not_run(gone) == of_it
        commented = {path: text + "".join(f"\n# {name}" for name in of_it) for path, text in gone.items()}
        assert sessions_not_run(commented) == of_it
        named = {path: text + "".join(f"\n- {name}" for name in of_it) for path, text in gone.items()}
        assert sessions_not_run(named) == set()


RUN = "matrix: ${{ fromJSON(needs.plan.outputs.matrix) }}\nenv: ${{ matrix.session }}\n"


@pytest.mark.parametrize(
    ("command", "reached"),
    [
        ("plan --platform cpu --format github", {"eagle3_cpu", "mtp_cpu"}),
        ("matrix=$(./nox -s harness -- plan --format=github --platform cpu)", {"eagle3_cpu", "mtp_cpu"}),
        ("plan --platform cpu \\\n  --format github | tee plan.json", {"eagle3_cpu", "mtp_cpu"}),
        ('plan --platform cpu --format github ${SUITE:+--suite "$SUITE"}', {"eagle3_cpu", "mtp_cpu"}),
        ("plan --platform cpu --suite mtp --format github", {"mtp_cpu"}),
        ("plan --platform cpu", set()),
        ("plan --platform cpu --format json", set()),
        ('plan --platform "$PLATFORM" --format github', set()),
        ('plan --platform cpu --format github "${options[@]}"', set()),
        ("plan --platform cpu --format github --devices 1", set()),
        ("plan --platform cpu --format github mtp/known_answer", set()),
        ("plan --platform cpu --format 'github", set()),
        ("# plan --platform cpu --format github", set()),
    ],
)
def test_what_a_plan_in_a_workflow_reaches(command: str, reached: set[str]) -> None:
    asked = {"eagle3_cpu", "mtp_cpu"}
    assert asked - sessions_not_run({"ci.yml": RUN + command}) == reached


def test_a_plan_whose_matrix_no_job_runs_reaches_nothing() -> None:
    plan = "plan --platform cpu --format github"
    assert "mtp_cpu" not in sessions_not_run({"ci.yml": RUN + plan})
    for part in RUN.splitlines():
        assert "mtp_cpu" in sessions_not_run({"ci.yml": f"{part}\n{plan}"})
    assert "mtp_cpu" in sessions_not_run({"one.yml": RUN, "other.yml": plan})


def test_a_trigger_path_that_matches_nothing_is_found(tmp_path: Path) -> None:
    planned = everything(load(edited(tmp_path, SINGLE, {})))
    paths = sources(planned[0])
    held = [path + "x.py" if path.endswith("/") else path for path in paths]
    words = planned[0].case.serve.env
    assert problems(planned, WORKFLOWS, Checkout(held, words)) == []
    assert any(repr(paths[0]) in problem for problem in problems(planned, WORKFLOWS, Checkout(held[1:], words)))


def test_a_checkout_of_one_engine_says_nothing_about_the_suites_of_another(tmp_path: Path) -> None:
    planned = everything(load(edited(tmp_path, "sglang_eagle3/known_answer", {})))
    about_paths = [
        [each for each in problems(planned, WORKFLOWS, Checkout([name], ())) if "matches no file" in each]
        for name in ("vllm/x.py", "python/sglang/x.py")
    ]
    assert [bool(found) for found in about_paths] == [False, True]


def test_a_model_that_nobody_has_pinned_is_planned_and_runs(tmp_path: Path) -> None:
    model = {"serve/speculation/model": {"repo": "some/drafter", "revision": "unresolved"}}
    (found,) = everything(load(edited(tmp_path, SINGLE, model)))
    assert found.skip == ""
    assert "hf download some/drafter --local-dir" in show(found, on_paper(found.platform))
