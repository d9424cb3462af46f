"""Figures and points in YAML: a model's accuracy, and what a sweep runs it with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from harness.upstream.figures import ACCURACY, Figure, Found, Place, Point, Setting, Unread, kind_of_bound

_MODELS = ("model_name", "hf_model", "model")
_ITEMS = ("num_questions", "limit")
_VARIABLES = {
    "decode_parallel_size": "DECODER_TP_SIZE",
    "decode_tp_size": "DECODER_TP_SIZE",
    "enable_dp_ep": "DP_EP",
    "prefill_pp_size": "PREFILLER_PP_SIZE",
    "prefill_tp_size": "PREFILLER_TP_SIZE",
    **dict.fromkeys(_MODELS, "MODEL_NAME"),
}
"""Keys of a point, and what sweeps of shell scripts call the same."""


def read(path: str, text: str) -> Found:
    """All figures of the tables that name a model, and those without one as points of a sweep."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        return Found(unread=[Unread(Place(path, 1), f"no YAML: {' '.join(str(error).split())[:200]}")])
    found = Found()
    for table in _tables(document):
        own = _figures(path, text, table)
        if not own.figures and not own.unread:
            own.points.append(_point(path, text, table))
        found.add(own)
    return found


def _tables(document: Any) -> Iterator[Mapping[str, Any]]:
    """Every table that names a model, wherever it is."""
    if isinstance(document, dict):
        if any(isinstance(document.get(name), str) for name in _MODELS):
            yield document
        else:
            for each in document.values():
                yield from _tables(each)
    elif isinstance(document, list):
        for each in document:
            yield from _tables(each)


def _model(table: Mapping[str, Any]) -> str:
    return next(str(table[name]) for name in _MODELS if isinstance(table.get(name), str))


def _figures(path: str, text: str, table: Mapping[str, Any]) -> Found:
    found = Found()
    parallel = table.get("tensor_parallel_size")
    tensor = parallel if isinstance(parallel, int) else None
    for name, dataset, items, value in _values(table):
        place = Place(path, _line(text, name), name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            found.unread.append(Unread(place, f"{value!r} is no number"))
            continue
        setting = Setting(target=_model(table), dataset=dataset, items=items, tensor_parallel=tensor)
        found.figures.append(Figure(place, kind_of_bound(name) or ACCURACY, (float(value),), setting))
    return found


def _values(table: Mapping[str, Any]) -> Iterator[tuple[str, str, int | None, Any]]:
    """Name, data set, items and value of each bound."""
    items = next((table[name] for name in _ITEMS if isinstance(table.get(name), int)), None)
    for name, value in table.items():
        if kind_of_bound(str(name)):
            yield str(name), "gsm8k" if "num_questions" in table else "", items, value
    for task in table.get("tasks") or []:
        for metric in (task.get("metrics") or []) if isinstance(task, dict) else []:
            if isinstance(metric, dict) and "value" in metric:
                yield str(metric.get("name", "value")), str(task.get("name", "")), items, metric["value"]


def _point(path: str, text: str, table: Mapping[str, Any]) -> Point:
    variables = {_VARIABLES.get(str(name), str(name).upper()): _word(value) for name, value in table.items()}
    given = {name: value for name, value in variables.items() if value}
    return Point(Place(path, _line(text, _model(table))), given, {})


def _word(value: Any) -> str:
    """As a shell would have it: a list with commas, a switch as 1 or nothing."""
    if isinstance(value, bool):
        return "1" if value else ""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(text: str, name: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if name in line), 1)
