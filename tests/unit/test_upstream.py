"""Upstream's tests read as text: each form of table, sweep and bound on small files of our own."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.upstream import (
    compare_figures,
    compare_runs,
    comparison_report,
    python_asserts,
    python_tables,
    reading,
    registrations,
    shell,
    yaml_tables,
)
from harness.upstream.comparison_report import Line, Report
from harness.upstream.figures import Figure, Found, Place, Point, Registered, Setting, is_repository, kind_of_bound
from harness.upstream.ours import Held, Topology
from harness.upstream.python_values import Record, Sources, Unreadable
from harness.upstream.steps import Step
from harness.upstream.steps import read as read_steps

TABLES = """
import os
from dataclasses import dataclass
import pytest
from ..shared import SMALL, run
DEFAULT_RTOL = 0.05
EXPECTED_VALUES = {"org/alpha": 0.41, SMALL: 0.19, "org/open": float(os.environ["X"]), f"{SMALL}-x": 1}
@dataclass
class Config:
    verifier: str
    drafter: str
    num_speculative_tokens: int = 3
    expected_acceptance_length: float = 0.0
    reference_acceptance_rates_per_pos: tuple = ()
    rtol: float | None = None
CONFIGS = [
    Config(
        verifier="org/alpha", drafter="org/alpha-draft", expected_acceptance_length=2.6,
        reference_acceptance_rates_per_pos=[0.7, 0.5], rtol=0.15,
    ),
]
ONE = Config(verifier="org/beta", drafter="org/beta-draft", num_speculative_tokens=16)
@pytest.mark.parametrize("model_config", [pytest.param(each) for each in CONFIGS])
def test_length(model_config):
    assert measured(model_config) >= model_config.expected_acceptance_length
def test_by_dataset(runner):
    run(
        spec_config={"model": ONE.verifier, "speculative_config": {"model": ONE.drafter, "num_speculative_tokens": 4}},
        expected_acceptance_lengths={"mt-bench": 4.24, "gsm8k": 6.54 * 0.975},
        other=runner.x,
    )
@pytest.mark.parametrize(
    ["setup", "expected_accuracy_threshold"],
    [
        (("mtp", "org/gamma", 1, "org/gamma-draft"), 0.5),
        pytest.param(("mtp", "org/delta", 1, None), 0.2, marks=[]),
    ],
)
def test_rows(setup, expected_accuracy_threshold):
    check(setup, expected_accuracy_threshold=expected_accuracy_threshold)
def evaluate(model, other=1, expected_accuracy_threshold: float = 0.7, *, max_len=None, min_score=0.9, **rest):
    assert score >= expected_accuracy_threshold
def test_local():
    model = "org/epsilon"
    evaluate(model, threshold(), expected_accuracy_threshold=0.8)
"""
SHARED = 'SMALL = "org/small"\nBASE = 0.6\nclass Kit:\n    floor_score_thres = 0.25\n'
CLASSES = """
import unittest
from pkg.kits import AccuracyKit, Server
register_cuda_ci(est_time=3, stage="base", runner_config="2-gpu")
register_amd_ci(est_time=3, suite="nightly-amd", disabled="flaky")
KITS = (AccuracyKit,)
MODEL = "org/alpha"
OBSERVED = {1: 0.445, 3: 0.44}
SCORE_THRESHOLD = min(OBSERVED.values()) - 0.03
class TestPlain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = MODEL
        cls.process = launch(cls.model, other_args=["--tp", "2", "--speculative-draft-model-path", "org/draft", *cls.x])
    def test_gsm8k(self):
        metrics = run_eval(SimpleNamespace(eval_name="gsm8k", num_examples=200))
        if is_in_amd_ci():
            self.assertGreater(metrics["score"], 0.88)
        else:
            self.assertGreater(metrics["score"], 0.91)
        self.assertGreaterEqual(avg_accept, 1.5)
        self.assertGreater(speed, 40)
        self.assertLess(row["ece"], 0.03)
    def test_again(self):
        drop = first["score"] - second["score"]
        self.assertLessEqual(drop, 0.02)
        accuracy_drop = first["accuracy"] - second["accuracy"]
        self.assertLessEqual(accuracy_drop, 0.04)
        apart = max(compare(score_response))
        self.assertLess(apart, 0.5)
        assert score >= SCORE_THRESHOLD
        rel_error = abs(accept_length - expected) / expected
        assert rel_error <= DEFAULT_RTOL
class TestMixed(Server, *KITS):
    score_thres = 0.7
class _Base(Server):
    score_thres = 0.1
"""
KITS_FILE = """
class Server:
    model = "org/served"
    draft_model = "org/served-draft"
    accept_len_thres = None
class AccuracyKit:
    score_thres = 0.2
    unused_accuracy_thres = 0.9
    deep_accuracy_threshold = 0.3
    def test_gsm8k(self):
        metrics = run_eval(self.model)
        self.assertGreater(metrics["score"], self.score_thres)
        finish(self, self.deep_accuracy_threshold)
        thres = self.accept_len_thres
        if thres is None:
            thres = 2.5 if self.topk == 1 else 3.47
        self.assertGreater(avg_spec_accept_length, thres)
"""
SWEEP = """
SCRIPT="tests/kv/run_it.sh"
# old_configs=("TP=1 X=2")
tp_configs=(
  "SIZE=0.6 PREFILLER_TP_SIZE=2 DECODER_TP_SIZE=1" # a note (with brackets)
  "SIZE=0.8 MODEL_NAMES=org/beta DP_EP=1 DECODER_TP_SIZE=2"
)
mtp="SD_METHOD=mtp MODEL_NAME=org/beta NUM_SPEC_TOKENS=1"
extra=("MODEL_NAMES=org/beta VLLM_SERVE_EXTRA_ARGS=--spec-method,mtp,--spec-tokens,2")
configs=("${tp_configs[@]}")
"""
RUN = """
PREFILLER_TP_SIZE=${PREFILLER_TP_SIZE:-1}
KV='{"kv_connector":"PushConnector","kv_role":"kv_producer"}'
if [[ -n "$MODEL_NAMES" ]]; then
  MODELS=("$MODEL_NAMES")
else
  MODELS=(
      "org/alpha"
  )
fi
"""
BOUNDED = """
THRESHOLD=${1:-0.25}
NUM_Q=${2:-1319}
MODEL="Org/Alpha"
python gsm8k_eval.py --num-questions "${NUM_Q}"
python -c "assert acc >= ${THRESHOLD}"
"""
FILES = {
    "tests/spec/deep/test_tables.py": TABLES,
    "tests/spec/shared.py": SHARED,
    "test/registered/test_classes.py": CLASSES,
    "python/pkg/kits.py": KITS_FILE,
    "tests/kv/sweep.sh": SWEEP,
    "tests/kv/run_it.sh": RUN,
    "ci/bounded.sh": BOUNDED,
}


def sources(files: Mapping[str, str] = FILES) -> Sources:
    return Sources(files.get)


def read(path: str, reader: object = python_tables, files: Mapping[str, str] = FILES) -> Found:
    held = sources(files)
    module = held.module(path)
    assert module is not None
    found: Found = reader.read(module, held)  # type: ignore[attr-defined]
    return found


def told(found: Found) -> list[tuple[str, str, tuple[float, ...]]]:
    return [(each.place.symbol, each.kind, each.values) for each in found.figures]


def test_tables_are_read_with_models_datasets_and_tolerances() -> None:
    found = read("tests/spec/deep/test_tables.py")
    assert told(found) == [
        ("EXPECTED_VALUES[org/alpha]", "accuracy", (0.41,)),
        ("EXPECTED_VALUES[org/small]", "accuracy", (0.19,)),
        ("expected_acceptance_length", "acceptance_length", (2.6,)),
        ("reference_acceptance_rates_per_pos", "acceptance_per_position", (0.7, 0.5)),
        ("expected_acceptance_lengths[mt-bench]", "acceptance_length", (4.24,)),
        ("expected_acceptance_lengths[gsm8k]", "acceptance_length", (6.3765,)),
        ("expected_accuracy_threshold", "accuracy", (0.5,)),
        ("expected_accuracy_threshold", "accuracy", (0.2,)),
        ("evaluate(expected_accuracy_threshold)", "accuracy", (0.7,)),
        ("evaluate(min_score)", "accuracy", (0.9,)),
        ("expected_accuracy_threshold", "accuracy", (0.8,)),
    ]


def test_what_a_figure_is_about_comes_from_around_it() -> None:
    by_name = {each.place.symbol: each for each in read("tests/spec/deep/test_tables.py").figures}
    one = by_name["expected_acceptance_length"]
    assert (one.setting.target, one.setting.drafter) == ("org/alpha", "org/alpha-draft")
    assert (one.setting.draft_tokens, one.tolerances) == (3, (0.15, 0.05))
    by_dataset = by_name["expected_acceptance_lengths[gsm8k]"].setting
    assert (by_dataset.target, by_dataset.drafter, by_dataset.draft_tokens) == ("org/beta", "org/beta-draft", 4)
    assert by_dataset.dataset == "gsm8k"
    rows = [
        each.setting
        for each in read("tests/spec/deep/test_tables.py").figures
        if each.place.symbol.endswith("threshold")
    ]
    assert [(each.target, each.drafter) for each in rows] == [
        ("org/gamma", "org/gamma-draft"), ("org/delta", ""), ("org/epsilon", ""),
    ]  # fmt: skip


def test_what_cannot_be_read_is_named_with_its_line() -> None:
    found = read("tests/spec/deep/test_tables.py")
    assert [(str(each.place), each.why) for each in found.unread] == [
        ("tests/spec/deep/test_tables.py:7 EXPECTED_VALUES[org/open]", "os is set when it runs"),
        ("tests/spec/deep/test_tables.py:7 EXPECTED_VALUES", "a key that is computed, or no model"),
    ]


def test_assertions_of_classes_have_the_attributes_that_they_inherit() -> None:
    found = read("test/registered/test_classes.py", python_asserts)
    assert told(found) == [
        ("TestPlain.test_gsm8k", "accuracy", (0.88,)),
        ("TestPlain.test_gsm8k", "accuracy", (0.91,)),
        ("TestPlain.test_gsm8k", "acceptance_length", (1.5,)),
        ("TestPlain.test_again", "accuracy_difference", (0.02,)),
        ("TestPlain.test_again", "accuracy_difference", (0.04,)),
        ("TestPlain.test_again", "accuracy", (pytest.approx(0.41),)),
        ("TestMixed.test_gsm8k", "accuracy", (0.7,)),
        ("TestMixed.deep_accuracy_threshold", "accuracy", (0.3,)),
    ]
    amd, cuda = found.figures[0].setting, found.figures[1].setting
    assert (amd.platform, cuda.platform) == ("rocm", "cuda")
    assert (amd.target, amd.drafter, amd.tensor_parallel, amd.items) == ("org/alpha", "org/draft", 2, 200)
    mixed = found.figures[6]
    assert (mixed.setting.target, mixed.setting.drafter) == ("org/served", "org/served-draft")
    assert mixed.place.line == ast.parse(CLASSES).body[-2].lineno
    assert [(each.place.symbol, each.why) for each in found.unread] == [
        ("TestPlain.test_gsm8k", """"row['ece']" is compared with 0.03: what that measures is not clear"""),
        ("TestPlain.test_again", "'apart' is compared with 0.5: what that measures is not clear"),
        ("TestMixed.test_gsm8k", "the bound 'thres' is computed"),
    ]


def test_registrations_say_where_a_file_runs_and_why_not() -> None:
    found = read("test/registered/test_classes.py", registrations)
    assert [(each.platform, each.where, each.disabled) for each in found.registered] == [
        ("cuda", "base 2-gpu", ""), ("amd", "nightly-amd", "flaky"),
    ]  # fmt: skip


def ending(name: str) -> str | None:
    return next((text for path, text in FILES.items() if path.endswith(name)), None)


def test_points_of_sweeps_take_the_defaults_of_their_script() -> None:
    found = shell.read("tests/kv/sweep.sh", SWEEP, ending)
    assert [(each.place.line, each.place.symbol) for each in found.points] == [
        (5, "tp_configs"), (6, "tp_configs"), (8, "mtp"), (9, "extra"),
    ]  # fmt: skip
    assert [compare_runs.topology(each) for each in found.points] == [
        Topology("org/alpha", (2, 1, 1), (1, 1, 1), "PushConnector"),
        Topology("org/beta", (1, 1, 1), (1, 1, 2), "PushConnector"),
        Topology("org/beta", (1, 1, 1), (1, 1, 1), "PushConnector", "mtp", 1),
        Topology("org/beta", (1, 1, 1), (1, 1, 1), "PushConnector", "mtp", 2),
    ]


def test_a_step_gives_a_script_its_bound() -> None:
    (called,) = shell.calls("X=1 bash ci/bounded.sh 0.8 200 8020 && echo done")
    assert called == ("ci/bounded.sh", ("0.8", "200", "8020"))
    place = Place("ci/steps.yaml", 3, "a-step")
    (figure,) = shell.bounds("ci/bounded.sh", BOUNDED, [(place, called[1])]).figures
    assert (figure.values, figure.setting.items, figure.setting.target) == ((0.8,), 200, "Org/Alpha")
    assert (figure.file, figure.place) == ("ci/bounded.sh", place)
    (figure,) = shell.bounds("ci/bounded.sh", BOUNDED, []).figures
    assert (figure.values, figure.place.symbol) == ((0.25,), "its defaults: no step runs it")
    (unread,) = shell.bounds("ci/bounded.sh", BOUNDED, [(place, ("$T",))]).unread
    assert unread.why == "the bound '$T' is computed"


MORE = """
from typing import NamedTuple
class Row(NamedTuple):
    target: str
    drafter: str
    expected_acceptance_length: float
    num_speculative_tokens: int = 5
ROWS = [Row("org/alpha", "org/alpha-draft", 2.5), Row("org/beta", "org/b", 3.5, num_speculative_tokens=7)]
BASELINES = {
    "org/alpha": {"accuracy": 0.6, "acceptance_length": 2.2, "num_speculative_tokens": 4, "rtol": 0.1},
    "org/beta": {"accuracy": compute()},
}
def test_between():
    model = "org/gamma"
    assert 0.3 <= accuracy <= 0.9
    assert score == pytest.approx(0.77, abs=0.05)
"""


def test_rows_without_names_dicts_in_dicts_and_comparisons_with_two_ends() -> None:
    files = {"tests/test_more.py": MORE}
    tables = read("tests/test_more.py", python_tables, files)
    assert [
        (each.values, each.setting.target, each.setting.drafter, each.setting.draft_tokens) for each in tables.figures
    ] == [
        ((2.5,), "org/alpha", "org/alpha-draft", 5),
        ((3.5,), "org/beta", "org/b", 7),
        ((0.6,), "org/alpha", "", 4),
        ((2.2,), "org/alpha", "", 4),
    ]
    assert tables.figures[2].tolerances == (0.1,)
    assert [(each.place.symbol, each.why) for each in tables.unread] == [
        ("BASELINES[org/beta].accuracy", "compute() is computed")
    ]
    asserts = read("tests/test_more.py", python_asserts, files)
    assert [(each.kind, each.values, each.setting.target) for each in asserts.figures] == [
        ("accuracy", (0.3,), "org/gamma"), ("accuracy", (0.9,), "org/gamma"), ("accuracy", (0.77,), "org/gamma"),
    ]  # fmt: skip


SWEEP_IN_YAML = """
configs:
- {hf_model: org/alpha, prefill_tp_size: 2, decode_parallel_size: 2, enable_dp_ep: true, gpu_memory_utilization: 0.8}
- {hf_model: org/beta, enable_dp_ep: false, extra: [--a, b]}
"""


def test_yaml_without_figures_is_points_of_a_sweep() -> None:
    points = yaml_tables.read("a/sweep.yaml", SWEEP_IN_YAML).points
    assert [(each.place.line, compare_runs.topology(each)) for each in points] == [
        (3, Topology("org/alpha", (2, 1, 1), (1, 1, 2), "NixlConnector")),
        (4, Topology("org/beta", (1, 1, 1), (1, 1, 1), "NixlConnector")),
    ]
    assert points[1].variables == {"MODEL_NAME": "org/beta", "EXTRA": "--a,b"}


YAML = """
model_name: org/alpha
accuracy_threshold: 0.62
num_questions: 1319
tasks:
- name: gsm8k
  metrics: [{name: strict, value: 0.3}, {name: loose, value: often}]
"""


def test_every_sort_of_file_is_read_or_named() -> None:
    files = {**FILES, "a/x.yaml": YAML, "a/bad.yaml": "a: [", "a/bad.py": "def", "a/data.csv": "0.5", "a/README.md": ""}
    paths = reading.selected(files, ["a/", "tests/spec/*.py", "ci/*.sh"])
    commands = {Place("ci/steps.yaml", 3, "a-step"): ["bash ci/bounded.sh 0.8"]}
    done = reading.read([*paths, "a/none.py"], files.get, commands, list(files))
    assert done.files == ["tests/spec/deep/test_tables.py", "tests/spec/shared.py", "ci/bounded.sh", "a/x.yaml",
                          "a/bad.yaml", "a/bad.py", "a/data.csv"]  # fmt: skip
    values = {
        each.place.symbol: each.values for each in done.found.figures if each.place.path.startswith(("a/", "ci/"))
    }
    assert values == {"accuracy_threshold": (0.62,), "strict": (0.3,), "a-step": (0.8,)}
    why = {each.place.path: each.why for each in done.found.unread if each.place.path.startswith("a/")}
    assert why["a/x.yaml"] == "'often' is no number"
    assert why["a/bad.yaml"].startswith("no YAML: ")
    assert why["a/bad.py"].startswith("no Python: ")
    assert why["a/none.py"] == "it cannot be opened, or is far too large for a test"
    assert why["a/data.csv"] == "no reader knows files of this sort"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("X = 1 + 2 * 3 - 4 / 2", 5.0),
        ("X = -min([3, 1])", -1),
        ("X = {'a': [1]}['a'][0]", 1),
        ("X = os.getenv('A', 'b')", "b"),
        ("X = C(a=1, c=run())", Record("C", {"b": 2, "a": 1})),
        ("X = C(a=5).b", 2),
    ],
)
def test_values_are_what_the_sources_say(text: str, value: object) -> None:
    held = sources({"x.py": f"class C:\n    b: int = 2\n{text}\n"})
    module = held.module("x.py")
    assert module is not None
    assert held.value(module.names["X"], module) == value


@pytest.mark.parametrize(
    "text", ["run()", "Y", "X", "1 << 3", "not 1", "1 / 0", "{}['a']", "'a' * 3", "[i for i in Z]"]
)
def test_what_depends_on_a_run_is_no_value(text: str) -> None:
    held = sources({"x.py": f"X = {text}\n"})
    module = held.module("x.py")
    assert module is not None
    with pytest.raises(Unreadable):
        held.value(module.names["X"], module)


def test_imports_in_a_circle_and_nesting_without_end_are_not_read() -> None:
    files = {
        "t/a.py": "from .b import C\nX = C(a=1)\nclass TestIt(C):\n    def test_it(self): assert score > 0.5\n",
        "t/b.py": "from .a import C\n",
        "t/deep.py": "def test_it():\n    assert accuracy > " + "-" * 3000 + "1.5\n",
    }
    found = reading.read(sorted(files), files.get, {}, sorted(files)).found
    assert [each.values for each in found.figures] == [(0.5,)]
    assert [each.place.path for each in found.unread] == ["t/deep.py"]


@pytest.mark.parametrize("text", ["a/b.py", "tests/x.sh", "plain", "$A/b", "a/b/c", 3])
def test_a_path_is_no_repository(text: object) -> None:
    assert not is_repository(text)


@pytest.mark.parametrize("name", ["accuracy", "num_accepted", "expected_async_scheduling", "min_tokens"])
def test_a_setting_is_no_bound(name: str) -> None:
    assert not kind_of_bound(name)


FILE = "tests/test_a.py"
HELD = Held("suite/case", "cuda", "accuracy", (0.41,), 0.05, f"vLLM {FILE} at 1", "org/alpha", "", None, "gsm8k")


def figure(value: float = 0.41, **setting: object) -> Figure:
    given = {"target": "Org/Alpha", **setting}
    return Figure(Place(FILE, 3, "E"), "accuracy", (value,), Setting(**given), (0.05,))  # type: ignore[arg-type]


def of(theirs: list[Figure], ours: list[Held]) -> list[tuple[str, str]]:
    lines, met = compare_figures.figures(theirs, ours)
    lines += compare_figures.gone(ours, theirs, met, [FILE, "tests/other.py"])
    return [(each.what, each.told) for each in lines]


def test_a_figure_is_the_same_or_differs() -> None:
    assert of([figure()], [HELD]) == [("same", "0.41")]
    assert of([figure(0.4)], [HELD]) == [("differs", "ours 0.41, theirs 0.4")]
    assert of([figure()], [replace(HELD, tolerance=0.1)]) == [("differs", "tolerance: ours 0.1, theirs 0.05")]
    drafting = replace(HELD, draft_tokens=3)
    assert of([figure(draft_tokens=4)], [drafting]) == [("differs", "draft tokens: ours 3, theirs 4")]
    assert of([figure(0.5)], [replace(HELD, known=(0.5,))])[0] == ("same", "0.5, which the case has in its history")


def test_of_several_cases_the_nearest_one_differs() -> None:
    ours = [replace(HELD, case="s/far", values=(0.9,)), HELD]
    assert of([figure(0.4)], ours)[0] == ("differs", "ours 0.41, theirs 0.4")


def test_a_figure_of_no_case_is_new() -> None:
    elsewhere = replace(HELD, origin="vLLM tests/other.py at 1, another test")
    assert of([figure(0.4)], [elsewhere])[0] == ("new", "0.4; for the same, cases hold 0.41 of other files")
    assert of([figure(target="org/new")], [])[0] == ("new", "0.41; no case has this model")
    assert of([figure(dataset="mmlu")], [HELD])[0] == ("new", "0.41; cases with this model ask something else")
    assert of([figure(platform="rocm")], [HELD])[0][0] == "new"
    assert of([figure(drafter="org/d")], [replace(HELD, drafter="org/e")])[0][0] == "new"
    assert of([figure(0.0)], []) == []


def test_of_several_figures_of_one_file_a_case_needs_one() -> None:
    assert of([figure(0.6), figure(), figure(0.6)], [HELD]) == [
        ("new", "0.6; for the same, cases hold 0.41 of this file"), ("same", "0.41"),
    ]  # fmt: skip


def test_a_model_that_was_not_read_counts_where_the_case_names_the_file() -> None:
    assert of([figure(target="")], [HELD]) == [("same", "0.41")]
    assert of([figure(target="")], [replace(HELD, origin="measured by ourselves")]) == [
        ("new", "0.41; its model was not read")
    ]


def test_what_upstream_does_not_have_any_more_is_gone() -> None:
    missing = replace(HELD, origin="vLLM old/test_a.py at 1")
    assert of([], [missing]) == [
        ("gone", f"ours 0.41: old/test_a.py is not in the checkout; a file of that name is {FILE}")
    ]
    assert of([figure(0.3, target="org/other")], [HELD])[1] == (
        "gone", "ours 0.41 is not there; figures of this kind that are: 0.3",
    )  # fmt: skip
    (line,) = compare_figures.disabled(
        [Registered(Place(FILE, 1), "amd", "x", "flaky"), Registered(Place(FILE, 2), "cuda", "x")], [HELD]
    )
    assert (line.what, line.told) == ("gone", "upstream's CI does not run it: flaky")


def point(**variables: str) -> Point:
    return Point(Place("tests/sweep.sh", 2, "configs"), variables, {"MODEL": "org/alpha"})


def test_points_of_a_sweep_are_looked_for_in_the_matrices() -> None:
    ours: dict[Topology, list[tuple[str, Mapping[str, str]]]] = {
        Topology("org/alpha", (2, 1, 1), (1, 1, 1), "NixlConnector"): [("suite/case", {"VLLM_L": "DS"})],
        Topology("org/alpha", (8, 1, 1), (1, 1, 1), "NixlConnector"): [("suite/case", {})],
        Topology("org/alpha", (8, 1, 1), (1, 1, 1), "MultiConnector"): [("suite/case", {})],
    }
    theirs = [
        point(PREFILLER_TP_SIZE="2", GPU_MEMORY_UTILIZATION="0.6"),
        point(PREFILLER_TP_SIZE="2", VLLM_L="DS"),
        point(PREFILLER_TP_SIZE="2", VLLM_L="SD"),
        point(PREFILLER_TP_SIZE="2", SLEEP="1"),
        point(PREFILLER_TP_SIZE="4"),
        point(COLOUR="red"),
    ]
    found = list(compare_runs.points(theirs, ours, [HELD]))
    assert [each.what for each in found] == ["same", "same", "differs", "new", "new", "not read", "gone"]
    assert found[3].told == "sets SLEEP, which no case has"
    assert found[-1].name == "org/alpha: prefill TP 8, decode TP 1, NixlConnector"


STEPS = """
steps:
- label: One
  key: one
  command: pytest spec/deep
  mirror: {amd: {commands: [bash kv/x.sh]}}
# Off for now.
# - label: Two
#   key: two
#   commands: [pytest spec/deep]

# - no: step
"""


def test_steps_are_the_suites_or_nobodys() -> None:
    theirs = list(read_steps("ci.yaml", STEPS, lambda _: False))
    assert [(each.names, each.commands, each.switched_off) for each in theirs] == [
        (("one", "One"), ("pytest spec/deep", "bash kv/x.sh"), False), (("two", "Two"), ("pytest spec/deep",), True),
    ]  # fmt: skip
    known = {"a": ["one"], "b": ["two", "three"]}
    assert [(each.what, each.name) for each in compare_runs.steps(theirs, known, ["tests/spec/deep/"])] == [
        ("same", "one"), ("gone", "two"), ("gone", "three"),
    ]  # fmt: skip
    assert [each.told for each in compare_runs.steps(theirs, {}, ["tests/*/deep/"])] == [
        "no suite stands for it", "no suite stands for it, and it stands in a comment only",
    ]  # fmt: skip
    assert not list(compare_runs.steps([Step(("x",), commands=("pytest other",))], {}, ["tests/spec/"]))
    assert not list(compare_runs.steps([], known, []))


def test_a_report_reads_as_text_markdown_and_json() -> None:
    lines = [
        Line("same", "figure", "m", "1", "a.py:1"),
        Line("new", "figure", "a|b", "2", "a.py:2", tuple(f"s/c{number}" for number in range(6)), 1),
        Line("differs", "figure", "n_x", "3"),
    ]
    made = Report("vllm", "commit 1", 2, lines, ["a note"])
    comparison_report.sort(made)
    assert made.drifted
    text = comparison_report.as_text([made])
    assert text.splitlines() == [
        "vllm, commit 1: 1 differs, 1 new, 1 same (2 files)",
        "  differs: figure: n_x: 3",
        "  new: figure: a|b: 2 (and 1 more in this file)",
        "    a.py:2, s/c0, s/c1, s/c2, s/c3, 2 more cases",
        "  note: a note",
    ]
    assert "same: figure: m: 1" in comparison_report.as_text([made], same=True)
    page = comparison_report.as_markdown([made])
    assert "### Differs" in page
    assert "a\\|b" in page
    assert "### Same" not in page
    assert len(json.loads(comparison_report.as_json([made]))["reports"][0]["lines"]) == 3
    assert not Report("vllm", "x", 0, [Line("new", "figure", "m", "1")]).drifted
