"""What a figure holds for, out of the values that stand around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.base.domain import Platform
from harness.upstream.figures import Setting, is_repository, is_tolerance
from harness.upstream.python_values import Record

_DRAFT_TOKENS = ("num_speculative_tokens", "num_spec_tokens")
_PARALLEL = ("tensor_parallel_size", "tp_size", "tp")
_ITEMS = ("num_questions", "num_prompts", "num_examples", "gsm8k_num_examples")
_METHODS = ("method", "sd_method", "speculative_algorithm", "spec_algo")
_DATASETS = ("eval_name", "dataset_name")
_OPTIONS = {
    "--speculative-draft-model-path": "drafter",
    "--speculative-draft-model": "drafter",
    "--speculative-algorithm": "method",
    "--tp": "tp",
    "--tp-size": "tp",
    "--tensor-parallel-size": "tp",
}
"""Of an engine's command line, and the setting that each is."""


def pairs(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value in a value, with its own name and those of what it is in, joined by dots."""
    if isinstance(value, Record):
        value = value.fields
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from pairs(each, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        yield from _listed(value, name)
    else:
        yield name, value


def _listed(values: Sequence[Any], name: str) -> Iterator[tuple[str, Any]]:
    """Options take the value that follows them; of two models in a row without names, the second one drafts."""
    option, models = "", 0
    for each in values:
        if isinstance(each, str) and each.startswith("--"):
            option = each
            continue
        known = _OPTIONS.get(option, option.lstrip("-").replace("-", "_"))
        models += is_repository(each)
        unnamed = "drafter" if models > 1 and is_repository(each) else name
        yield from pairs(each, f"{name}.{known}" if known else unnamed)
        option = ""


def setting(around: Iterable[tuple[str, Any]], dataset: str = "", platform: Platform | None = None) -> Setting:
    """The setting that named values make; of several for the same, the first counts."""
    found: dict[str, Any] = {}
    for name, value in around:
        if isinstance(value, bool) or value is None:
            continue
        last = name.rpartition(".")[2].lower()
        if is_repository(value):
            found.setdefault("drafter" if "draft" in name.lower() or "specul" in name.lower() else "target", value)
        elif isinstance(value, int) and (key := _number(last)):
            found.setdefault(key, value)
        elif isinstance(value, str):
            _text(found, last, value)
    given = {key: value for key, value in (("dataset", dataset), ("platform", platform)) if value}
    return Setting(**{**found, **given})


def _number(name: str) -> str:
    known = (("draft_tokens", _DRAFT_TOKENS), ("tensor_parallel", _PARALLEL), ("items", _ITEMS))
    return next((key for key, names in known if name in names), "")


def _text(found: dict[str, Any], name: str, value: str) -> None:
    if name in _METHODS:
        found.setdefault("method", value.lower())
    elif name in _DATASETS:
        found.setdefault("dataset", value)
    elif name in _PARALLEL and value.isdecimal():
        found.setdefault("tensor_parallel", int(value))


def tolerance(around: Iterable[tuple[str, Any]]) -> float | None:
    """The tolerance among named values; None if there is none."""
    for name, value in around:
        if is_tolerance(name.rpartition(".")[2]) and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None
