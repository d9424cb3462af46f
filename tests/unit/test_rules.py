"""Keys that nothing reads: environment variables without a reader, overlays without effect, fields without code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from harness.cases.load import load
from harness.cases.matrix import Matrix
from harness.cases.model import Case, SuiteTable
from harness.checks import CHECKS
from harness.plan import points
from harness.plan.points import everything
from harness.upkeep.rules import Checkout, problems
from tests.helpers import REPOSITORY, edited

SINGLE, DISAGG = "draft_model/known_answer", "disagg/known_answer_eagle3"
WORKFLOWS = {"ci.yml": "session: [disagg_cpu, disagg_cuda, draft_model_cpu, draft_model_cuda]"}


def found(folder: Path, case: str, changes: dict[str, Any], checkout: Checkout | None = None) -> list[str]:
    planned = everything(load(edited(folder, case, changes)))
    return [each.removeprefix(f"{folder}/{case}.toml: ") for each in problems(planned, WORKFLOWS, checkout)]


def test_an_environment_variable_that_nothing_reads(tmp_path: Path) -> None:
    # Upstream's sweep over prefill and decode with speculation set this one, and no script read it.
    changes = {"roles/decode/env": {"ENABLE_HMA_FLAG": "1", "UCX_TLS": "all", "VLLM_LOGGING_LEVEL": "INFO"}}
    assert found(tmp_path, DISAGG, changes) == [
        "serve.env.ENABLE_HMA_FLAG: neither vllm nor a library it uses has names like this: nothing reads it"
    ]


def test_an_environment_variable_that_is_not_in_the_engines_checkout(tmp_path: Path) -> None:
    changes = {"serve/env": {"VLLM_HOST_PI": "127.0.0.1"}}
    (planned,) = everything(load(edited(tmp_path / "right", SINGLE, {})))
    words, paths = list(planned.case.serve.env), [f"{path}x.py" for path in points.sources(planned)]
    paths += points.sources(planned)
    wrong = "serve.env.VLLM_HOST_PI: occurs nowhere in the checkout of vllm"
    assert found(tmp_path / "vllm", SINGLE, changes, Checkout(paths, words)) == [wrong]
    assert wrong not in found(tmp_path / "other", SINGLE, changes, Checkout(["python/sglang/x.py"], words))


TP = {"1": {"serve": {"tensor_parallel_size": 1}}, "4": {"serve": {"tensor_parallel_size": 4}}}
ON_CUDA: dict[str, Any] = {"platforms": ["cuda"], "cpu_twin": "none: a case of a test", "matrix/tp": TP}
EAGER = {"serve": {"flags": {"enforce-eager": True}}}
REASON = "a reason that is long enough"
NOT_AT_4 = {"match": {"tp": "4"}, "reason": REASON, "since": date(2026, 6, 2)}
IDLE: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "nothing wrong": (SINGLE, ON_CUDA, []),
    "a label beside the base": (
        SINGLE,
        ON_CUDA | {"matrix/tp/2": {"serve": {"tensor_parallel_size": 2, "flags": {"enforce-eager": True}}}},
        ["matrix.tp.2.serve.flags.enforce-eager: changes nothing: the value is there already"],
    ),
    "two labels that are the same": (
        SINGLE,
        {"matrix/tp": {"1": TP["1"], "one": TP["1"]}},
        [
            f"matrix.tp.{label}.serve.tensor_parallel_size: changes nothing: the value is there already"
            for label in ("1", "one")
        ],
    ),
    "when": (
        SINGLE,
        ON_CUDA | {"when": [{"match": {"tp": "4"}, "reason": REASON, "set": EAGER}]},
        ["when[0].set.serve.flags.enforce-eager: changes nothing: the value is there already"],
    ),
    "when, and only at points that do not run": (
        SINGLE,
        ON_CUDA
        | {"when": [{"match": {"tp": "4"}, "reason": REASON, "set": {"expected_seconds": 7}}], "exclude": [NOT_AT_4]},
        ["when[0]: matches no point that runs without it"],
    ),
    "exclude, what is excluded": (
        SINGLE,
        ON_CUDA | {"exclude": [NOT_AT_4, {**NOT_AT_4, "match": {"tp": ["4"]}}]},
        ["exclude[1]: matches no point that runs without it"],
    ),
    "platform": (
        SINGLE,
        {"platform/cpu": {"serve": {"flags": {"dtype": "bfloat16"}}, "timeouts": {"start": 77.0}}},
        ["platform.cpu.serve.flags.dtype: changes nothing: the value is there already"],
    ),
    "role": (
        DISAGG,
        {"roles/prefill/flags": {"max-model-len": 1024}, "roles/decode/flags": {"max-model-len": 512}},
        ["roles.prefill.flags.max-model-len: changes nothing: the value is there already"],
    ),
    "empty table": (
        DISAGG,
        {"roles/prefill/flags": {}},
        ["roles.prefill.flags: changes nothing: the value is there already"],
    ),
}


@pytest.mark.parametrize(("case", "changes", "expected"), IDLE.values(), ids=IDLE)
def test_an_overlay_that_changes_nothing(
    tmp_path: Path, case: str, changes: dict[str, Any], expected: list[str]
) -> None:
    assert found(tmp_path, case, changes) == expected


def test_what_one_case_of_a_suite_needs_is_no_idle_default(tmp_path: Path) -> None:
    folder = edited(tmp_path, SINGLE, {"timeouts/start": 77.0})
    suite = folder / "draft_model" / "_suite.toml"
    suite.write_text(suite.read_text() + "[defaults.platform.cpu.timeouts]\nstart = 300.0\nrequest = 77.0\n")
    idle = "draft_model/_suite.toml: defaults.platform.cpu.timeouts.start: changes nothing: the value is there already"
    assert problems(everything(load(folder)), WORKFLOWS, None) == [idle]


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """Every model class that can occur in a type, the ones it is made of first."""
    for argument in get_args(kind):
        yield from models(argument)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for field in kind.model_fields.values():
            yield from models(field.annotation)
        yield kind


def read_somewhere() -> set[str]:
    """Every name that the harness reads as an attribute or by its name from a table."""
    names: set[str] = set()
    for path in (REPOSITORY / "harness").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                names.add(str(node.slice.value))
    return names


# Speculation goes to the engine as one table, these fields included; checks are shown as one. Which protocol a table is
# of, pydantic reads.
WHOLE = {"draft_sample_method", "prompt_lookup_min", "prompt_lookup_max", "history", "protocol"}


def test_every_key_of_a_case_is_read_by_the_code() -> None:
    found = {model for root in (Case, Matrix, SuiteTable) for model in models(root)}
    fields = {f"{model.__name__}.{name}": name for model in found for name in model.model_fields}
    assert len(fields) > 40
    read = read_somewhere() | WHOLE | CHECKS.keys()  # all of them are judged: test_judging.py
    assert [field for field, name in fields.items() if name not in read] == []


def test_a_field_without_a_reader_would_be_found() -> None:
    class Dead(BaseModel):
        nobody_reads_this: int

    class Outer(BaseModel):
        tables: dict[str, list[Dead]] | None

    assert [each.__name__ for each in models(Outer)] == ["Dead", "Outer"]
    assert "nobody_reads_this" not in read_somewhere()


@pytest.mark.parametrize(
    ("case", "changes", "says"),
    [
        (
            "api/known_answer",
            {"when": None, "platform": None, "checks/contract/entries": 84},
            "contract.entries: is 84, the case makes 92",
        ),
        ("sampling/disagg", {"checks/sampling/n": 9}, "sampling.n: is 9, the case makes 8000"),
    ],
)
def test_a_number_of_a_check_that_is_not_of_the_evaluation(
    tmp_path: Path, case: str, changes: dict[str, Any], says: str
) -> None:
    without = {"matrix": None, "platform/cpu/exclude": None} if case == "sampling/disagg" else {"matrix": None}
    assert f"checks.{says}" in found(tmp_path, case, without | changes)
