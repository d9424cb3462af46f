"""Figures in YAML: a model's accuracy, as the configurations of upstream's evaluations hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from harness.upstream.figures import ACCURACY, Figure, Found, Place, Setting, Unread, kind_of_bound

_MODELS = ("model_name", "model")


def read(path: str, text: str) -> Found:
    """All figures of a file that names a model; other files hold none."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        return Found(unread=[Unread(Place(path, 1), f"no YAML: {' '.join(str(error).split())[:200]}")])
    found = Found()
    if not isinstance(document, dict):
        return found
    model = next((str(document[name]) for name in _MODELS if document.get(name)), "")
    if not model:
        return found
    parallel = document.get("tensor_parallel_size")
    for name, dataset, items, value in _values(document):
        if not isinstance(value, int | float) or isinstance(value, bool):
            found.unread.append(Unread(Place(path, 1, name), f"{value!r} is no number"))
            continue
        setting = Setting(
            target=model, dataset=dataset, items=items, tensor_parallel=parallel if isinstance(parallel, int) else None
        )
        kind = kind_of_bound(name) or ACCURACY
        found.figures.append(Figure(Place(path, _line(text, name), name), kind, (float(value),), setting))
    return found


def _values(document: dict[str, Any]) -> Iterator[tuple[str, str, int | None, Any]]:
    """Name, data set, items and value of each bound."""
    items = next((document[name] for name in ("num_questions", "limit") if isinstance(document.get(name), int)), None)
    for name, value in document.items():
        if kind_of_bound(str(name)):
            yield str(name), "gsm8k" if "num_questions" in document else "", items, value
    for task in document.get("tasks") or []:
        for metric in (task.get("metrics") or []) if isinstance(task, dict) else []:
            if isinstance(metric, dict) and "value" in metric:
                yield str(metric.get("name", "value")), str(task.get("name", "")), items, metric["value"]


def _line(text: str, name: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if name in line), 1)
