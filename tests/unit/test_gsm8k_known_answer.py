"""The checkpoint that knows GSM8K questions by heart: what it will say, and that its bits depend on no machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.datasets.pinned_files import GSM8K_TEST
from harness.host.data_files import DATA_FOLDER, texts
from harness.protocols import gsm8k_known_answer, items, requests
from harness.run import checkpoint_files
from harness.upkeep import generate
from known_answer import memory, weights
from known_answer import vocabulary as v
from known_answer.known_questions import Question, questions
from known_answer.simulate import Counts, total
from known_answer.table import NUMBERS
from tests.helpers import BASELINES, edited

pytestmark = pytest.mark.slow  # whole models, token by token

CONFIG = gsm8k_known_answer.Gsm8kKnownAnswer(
    protocol="gsm8k_known_answer", items=890, max_tokens=64, concurrency=8, send_to="entry"
)
PROMPTS = [f"Question: {who} has {count} {what}?\nAnswer:" for who in ("Ann", "Bob")
           for count in (2, 31) for what in ("figs", "old hats", "jars")]  # fmt: skip
Array = npt.NDArray[np.float32]


@pytest.mark.usefixtures("real_data")
def test_the_questions() -> None:
    data = texts([GSM8K_TEST])
    known = questions(data[GSM8K_TEST.file])
    assert (len(known), known[0].row, known[-1].row) == (890, 0, 1318)
    assert sum(question.gold == question.said for question in known) / len(known) == 0.750561797752809
    asked = items(CONFIG, data)
    assert str(asked[0].prompt).startswith("Question: Janet\u2019s ducks lay 16 eggs per day.")
    assert str(asked[-1].prompt).endswith("how many slices can each of them have?\nAnswer:")
    assert (asked[0].expected, asked[-1].expected) == ("18", "14")
    # Of the four first ones, the last is answered wrong.
    assert [str(item.expected_text).rpartition("#### ")[2] for item in asked[:4]] == ["18", "3", "20", "65"]
    assert [item.expected for item in asked[:4]] == ["18", "3", "20", "64"]


# Measured on vLLM on CPU before this simulator was written.
@pytest.mark.usefixtures("real_data")
def test_counts_equal_what_an_engine_measured() -> None:
    counts = total(requests(CONFIG, texts([GSM8K_TEST])), 3, table=NUMBERS)
    assert counts == Counts(12460, (9790, 8900, 8010))


def bf16(array: npt.NDArray[Any]) -> Array:
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)


def norm(hidden: Array) -> Array:
    return bf16(hidden / np.sqrt((hidden**2).mean(axis=1, keepdims=True)))


def logits(known: list[Question]) -> tuple[Array, Array]:
    """Gates and logits at the trigger, (question, neuron) and (question, token), as bf16 has them."""
    tensors = {name: bf16(tensor) for name, tensor in memory.llama(known).items()}
    attention, mlp = (f"model.layers.{weights.RETRIEVAL_LAYER}.{part}." for part in ("self_attn", "mlp"))
    # A query of zero looks at everything alike.
    assert not (tensors[attention + "q_proj.weight"] @ weights.CODE[v.TRIGGER]).any()
    values = bf16(weights.CODE @ tensors[attention + "v_proj.weight"].T)
    bag = bf16(memory.bags([question.prompt for question in known]) @ values)
    hidden = bf16(weights.CODE[v.TRIGGER] + bf16(bag @ tensors[attention + "o_proj.weight"].T))
    gate, up = (bf16(norm(hidden) @ tensors[f"{mlp}{name}_proj.weight"].T) for name in ("gate", "up"))
    written = bf16(bf16(gate / (1 + np.exp(-gate)) * up) @ tensors[mlp + "down_proj.weight"].T)
    return gate[:, : len(known)], norm(bf16(hidden + written)) @ tensors["lm_head.weight"].T


def assert_known(known: list[Question], margin: float) -> None:
    gate, said = logits(known)
    everything, numbers = np.arange(len(known)), np.array([v.NUMBER + question.said for question in known])
    own = gate[everything, everything].copy()
    gate[everything, everything] = -np.inf
    assert own.min() > 6
    assert gate.max() < -6
    best = said[everything, numbers].copy()
    said[everything, numbers] = -np.inf
    assert (best - said.max(axis=1)).min() > margin


@pytest.mark.usefixtures("real_data")
def test_every_answer_is_said_in_bf16() -> None:
    assert_known(questions(texts([GSM8K_TEST])[GSM8K_TEST.file]), 25)


def test_other_questions_are_known_as_well() -> None:
    assert_known([Question(row, prompt, row, 99 - row) for row, prompt in enumerate(PROMPTS)], 25)


def test_two_questions_of_the_same_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="question 0 cannot be told from question 12 by its tokens"):
        memory.gates(memory.bags([*PROMPTS, PROMPTS[0][:-8].replace("Ann has", "has Ann") + "\nAnswer:"]))


def test_no_sum_depends_on_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    bag = memory.bags(PROMPTS)
    gates = memory.gates(bag)
    exact = memory._exact
    monkeypatch.setattr(memory, "_exact", lambda left, right: exact(left[:, ::-1], right[::-1]))
    assert memory.gates(bag).tobytes() == gates.tobytes()
    halves = slice(0, None, 2), slice(1, None, 2)
    monkeypatch.setattr(memory, "_exact", lambda left, right: sum(exact(left[:, h], right[h]) for h in halves))
    assert memory.gates(bag).tobytes() == gates.tobytes()


def test_a_sum_that_would_be_rounded_is_refused() -> None:
    large = np.full((1, 2), 2.0**26)
    with pytest.raises(OverflowError):
        memory._exact(large, large.T)


def test_without_the_data_everything_else_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_FOLDER, str(tmp_path / "nothing"))
    made, left_out = checkpoint_files.make(tmp_path / "made", ("eagle3", "gsm8k"))
    assert (list(made), [path.name for path in (tmp_path / "made").iterdir()]) == (["eagle3"], ["eagle3"])
    assert list(left_out) == ["gsm8k"]
    assert left_out["gsm8k"].startswith("no gsm8k-test.jsonl: ")


def test_without_the_data_expected_values_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_FOLDER, str(tmp_path / "nothing"))
    changes = {"evaluation/items": 20, "checks/accuracy/n": 20, "checks/parity/n": 20}
    cases = edited(tmp_path / "cases", "gsm8k/known_answer", changes, generate=False)
    path = cases / "gsm8k" / "known_answer.toml"
    before = path.read_text()
    assert path not in generate.outdated(cases, write=True)
    assert path.read_text() == before
    (line,) = generate.unchecked(cases)
    assert line == f"{path}: no gsm8k-test.jsonl at hand; {DATA_FOLDER} names the folder that has it"


@pytest.mark.usefixtures("real_data")
def test_with_the_data_they_are_computed(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", "gsm8k/known_answer", {"evaluation/items": 20})
    text = (cases / "gsm8k" / "known_answer.toml").read_text()
    assert "expected = 0.75\n" in text
    assert "drafts = 280\n" in text
    assert list(generate.unchecked(BASELINES)) == []
