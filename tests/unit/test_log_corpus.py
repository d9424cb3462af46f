"""The cause in logs in the shapes in which engines and launchers write them, and what must not change it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines import ENGINES
from harness.logs.root_cause import find, last_words, root_cause

LOGS = Path(__file__).parents[1] / "data" / "logs"
CAUSES: dict[str, str] = json.loads((LOGS / "causes.json").read_text())
ECHOES = tuple({echo for name in ("vllm", "sglang") for echo in ENGINES[name].echoes})
IDLE = "(Monitor pid=9) DEBUG 11-20 21:37:20 [core.py:71] nothing new\n"
WITH_ANY_PREFIX = sorted(name for name in CAUSES if "killed_by_shell" not in name)  # whose line a prefix would change


def _text(name: str) -> str:
    return (LOGS / f"{name}.log").read_text()


def _cause(text: str) -> str:
    return root_cause(text, ECHOES).partition(" (while handling ")[0].partition(" (which led to ")[0]


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_the_cause_is_the_line_a_person_would_name(name: str) -> None:
    assert CAUSES[name] in _cause(_text(name))


def test_every_log_has_its_cause_beside_it() -> None:
    assert {str(path.relative_to(LOGS).with_suffix("")) for path in LOGS.rglob("*.log")} == set(CAUSES)


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_the_line_is_where_the_cause_stands(name: str) -> None:
    text = _text(name)
    found = find(text, ECHOES)
    assert found is not None
    said = " ".join(text.split("\n")[found.line - 1 :][:14])
    assert any(word in said for word in CAUSES[name].split() if len(word) > 4)


@pytest.mark.parametrize("prefix", ["2026-11-22T10:00:00.123456789Z stderr F ", "vllm-1  | ", "3: ", "[default1]:"])
@pytest.mark.parametrize("name", WITH_ANY_PREFIX)
def test_what_stands_before_every_line_changes_nothing(name: str, prefix: str) -> None:
    text = "\n".join(prefix + line for line in _text(name).split("\n"))
    assert CAUSES[name] in _cause(text)


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_who_points_to_it_changes_nothing(name: str) -> None:
    pointing = (
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.\n"
        'INFO:     127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error\n'
    )
    assert CAUSES[name] in _cause(_text(name) + pointing)


@pytest.mark.parametrize("name", sorted(CAUSES))
def test_of_a_long_log_the_end_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.logs.root_cause.WINDOW", 20_000)
    filler = IDLE * 1000
    found = find(filler + _text(name), ECHOES)
    assert found is not None
    assert found.line > filler.count("\n")


def test_the_first_error_of_a_long_log_is_found_where_its_end_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.logs.root_cause.WINDOW", 20_000)
    text = _text("developed/sglang_memory_pool") + IDLE * 1000
    assert "Not enough memory" in _cause(text)


ORDINARY = st.sampled_from(
    [
        "(APIServer pid=9) INFO 11-20 21:37:20 [core.py:71] 3 requests failed so far",
        '(APIServer pid=9) INFO:     127.0.0.1:1 - "POST /error HTTP/1.1" 500 Internal Server Error',
        "WARNING 11-20 21:37:20 [cpu.py:71] unknown CPU, failed to bind threads",
        "[rank0]:[W1120 10:00:00 ProcessGroupNCCL.cpp:1479] Warning: resources may fail",
        "Loading safetensors checkpoint shards: 50% Completed | 1/2 [00:01<00:01, failed 0]",
        "Exception ignored in: <function Pool.__del__ at 0x7f>",
        "",
    ]
)


@given(st.lists(ORDINARY, max_size=30))
def test_ordinary_lines_are_no_cause(lines: list[str]) -> None:
    assert root_cause("\n".join(lines), ECHOES) == ""


_PIECES = st.sampled_from(
    [line for name in sorted(CAUSES) for line in _text(name).split("\n")]
    + ["\r", "\x1b[31m", "  |", "(", "[", "x" * 9000]
)


@given(st.lists(_PIECES | st.text(max_size=40), max_size=60), st.sampled_from(["\n", "\r\n", "", "\n\n"]))
def test_any_text_has_one_line_or_none(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    found = find(text, ECHOES)
    last_words(text)
    if found is not None:
        assert found.text.strip()
        assert "\n" not in found.text
        assert 1 <= found.line <= text.count("\n") + 1
