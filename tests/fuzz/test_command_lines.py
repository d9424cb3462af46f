"""Command lines and environments: whatever an option is given, what is wrong with it is said in one line."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.main import app
from tests.fuzz import examples
from tests.fuzz.program import Answer, harness
from tests.helpers import NO_ENGINE

TEXTS = (
    "", " ", "-", "--", "-1", "0", "1", "1e308", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "x", "true", "é",
    "\udcff", "a\0b", "a\nb", "\x1b[31m", "\u202ex", "x" * 300, "x" * 100_000, "../../../x", "*", "[", "eagle3",
    "eagle3/*", "eagle3/known_answer", "eagle3/known_answer[tp=1]", "cpu", "cuda", "gpu", "tiny", "1/2", "2/1", "²/4",
    "0/0", "48MiB", "json", "vllm", "localhost:5000", "https://x", "/", "/etc/passwd", "/proc/self/mem", "/dev/null",
    "/dev/full", "~", "@file", "serve", "stop", "%s", "{x}", "$(id)",
)  # fmt: skip
ODD = ("folder", "file", "fifo", "socket", "loop", "dangling", "missing/inside", "binary", "long")
SPOILT: dict[tuple[str, ...], list[str]] = {
    ("run",): ["--cases", "/nonexistent"],
    ("serve",): ["--cases", "/nonexistent"],
    ("reap",): ["--no-such-option"],
    ("build",): ["--registry", "https://mirror.test"],
    ("rebuild-check",): ["--registry", "https://mirror.test"],
    ("lock-packages",): ["--archive", "x"],
    ("pins",): ["--pins", "/nonexistent"],
    ("pin",): ["--cases", "/nonexistent"],
    ("bundle", "make"): ["--cases", "/nonexistent"],
    ("doctor",): ["--cases", "/nonexistent"],
    ("canary",): ["--engine-python", "/nonexistent"],
    ("generate",): ["--check"],
    ("checkpoints", "make"): ["/dev/null/x"],
    ("hold",): ["--no-such-option"],
}
"""What keeps a command from starting something, asking somebody or writing: it comes last, and the last one counts."""


def _commands() -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Every command with its options."""
    todo: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app))]
    while todo:
        path, command = todo.pop()
        inside = getattr(command, "commands", {})
        todo += [((*path, name), each) for name, each in inside.items()]
        if not inside:
            yield path, [name for each in command.params for name in each.opts if name.startswith("--")]


COMMANDS = dict(sorted(_commands()))
VARIABLES = (
    "HARNESS_DATA_DIR", "XDG_CACHE_HOME", "HOME", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "DOCKER_HOST",
    "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SOURCE_DATE_EPOCH", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "HF_HOME",
    "HF_ENDPOINT", "HF_TOKEN", "HTTPS_PROXY", "NO_PROXY", "COLUMNS", "LINES", "TERM", "NO_COLOR", "FORCE_COLOR",
    "TMPDIR", "PATH", "LANG", "LC_ALL", "TZ", "INFERENCE_HARNESS_IMAGE", "TORCH_SYMM_MEM_DISABLE_MULTICAST",
)  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with paths of every kind."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "folder").mkdir()
    (folder / "file").write_text("title = 1\n")
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
        yield folder


def judged(answer: Answer) -> None:
    assert answer.code in (0, 1, 2, 3), answer
    assert answer.code in (0, 1) or answer.is_a_refusal() or "Usage" in answer.stdout, answer
    assert "Traceback" not in answer.stderr


def values(odd: Path) -> st.SearchStrategy[str]:
    paths = [str(odd / name) if name != "long" else str(odd / ("x" * 300)) for name in ODD]
    return st.sampled_from([*TEXTS, *paths, *paths]) | st.text(max_size=6)


@given(st.data())
@examples(200)
def test_options_with_any_value(odd: Path, data: st.DataObject) -> None:
    command = data.draw(st.sampled_from(list(COMMANDS)))
    given_values, line = values(odd), list(command)
    for _ in range(data.draw(st.integers(0, 4))):
        option = data.draw(st.sampled_from([*COMMANDS[command], ""]))
        together = data.draw(st.booleans())
        value = data.draw(given_values)
        line += [value] if not option else [f"{option}={value}"] if together else [option, value]
    judged(harness([*line, *SPOILT.get(command, [])], NO_ENGINE))


@given(st.data())
@examples(10)
def test_variables_with_any_value(odd: Path, data: st.DataObject) -> None:
    # What the operating system takes: no NUL, and no more than an environment holds.
    fitting = values(odd).filter(lambda value: "\0" not in value and len(value) < 10_000).map(os.fsencode)
    chosen = data.draw(st.dictionaries(st.sampled_from(VARIABLES), fitting.map(os.fsdecode), min_size=1, max_size=3))
    command = data.draw(
        st.sampled_from([["plan"], ["show", "eagle3/known_answer"], ["check"], ["doctor", "--offline"]])
    )
    answer = harness(command, {**NO_ENGINE, **chosen})
    # Nothing of it is the doctor's to refuse: what it cannot see, it says.
    assert answer.code in (0, 1, 2, 3, 4), answer
    assert "Traceback" not in answer.stderr
