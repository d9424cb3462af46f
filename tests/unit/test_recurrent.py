"""The checkpoints with recurrent layers, computed token by token: what they say, and that they need every state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from known_answer import content, faults, gated_delta, landmarks, qwen3_next, weights
from known_answer import vocabulary as v
from known_answer.prompts import question
from known_answer.simulate import Request, simulate
from known_answer.table import TABLE
from known_answer.weights import HIDDEN, Tensors
from tests.unit.recurrent_reference import RECURRENT, Granite, Jamba, Model, Qwen3Next, Qwen35, States, normed

pytestmark = pytest.mark.slow  # whole models, token by token

KEY = 7
PROMPT = v.encode(question(KEY))
NUMBER = TABLE.successor[v.KEY + KEY]
ANSWER = simulate(Request(v.byte(":"), 64, KEY), 0)[0]


@dataclass(frozen=True)
class Trio:
    whole: Model
    prefill: Model
    decode: Model


@cache
def three(kind: Callable[..., Model]) -> Trio:
    return Trio(kind(), kind("query"), kind("key"))


@pytest.fixture(scope="module", params=[Qwen35, Qwen3Next, Granite, Jamba])
def trio(request: pytest.FixtureRequest) -> Trio:
    return three(request.param)


PROMPTS = {"question": PROMPT, "ledger": v.encode(landmarks.ledger(KEY, 300))}
_asked: dict[tuple[int, str], States] = {}


def asked(model: Model, prompt: str = "question") -> States:
    """What a model has of a prompt but for its last token; computed once, of models that live as long as the tests."""
    known = (id(model), prompt)
    if known not in _asked:
        _asked[known] = after(model, PROMPTS[prompt][:-1], States())
    return copy.deepcopy(_asked[known])


def after(model: Model, tokens: list[int], states: States) -> States:
    for token in tokens:
        model.logits(token, states)
    return states


def test_it_answers(trio: Trio) -> None:
    states = asked(trio.whole)
    assert trio.whole.say(PROMPT[-1], states) == v.WORD
    logits = trio.whole.logits(v.TRIGGER, states)
    best, second = np.sort(logits)[[-1, -2]]
    assert best - second > 3
    assert logits.argmax() == NUMBER


def test_every_token_is_followed_by_its_successor(trio: Trio) -> None:
    # A word is followed by the next one only where it finds what it looks for.
    for token in TABLE.successor.keys() - set(content.MEANT) - set(range(v.WORD, v.WORD + v.WORDS)):
        following = TABLE.successor[token]
        assert trio.whole.say(token, States()) == following


def test_neither_twin_answers_alone(trio: Trio) -> None:
    alone = [model.say(v.TRIGGER, after(model, PROMPT[-1:], asked(model))) for model in (trio.prefill, trio.decode)]
    assert alone == [v.EOS, v.EOS]


def lose_matrix(layer: int) -> Callable[[States], None]:
    def lose(states: States) -> None:
        states.matrices[layer] = np.zeros(())

    return lose


def lose_inputs(layer: int) -> Callable[[States], None]:
    def lose(states: States) -> None:
        states.inputs[layer] = np.zeros(())

    return lose


def lose_cache(states: States) -> None:
    states.keys = [np.zeros_like(key) for key in states.keys]


LOSSES = {
    "nothing": None,
    **{f"state {layer}": lose_matrix(layer) for layer in range(RECURRENT)},
    **{f"inputs {layer}": lose_inputs(layer) for layer in range(RECURRENT)},
    "cache": lose_cache,
}


@pytest.mark.parametrize("lost", LOSSES)
def test_the_twins_need_every_state(trio: Trio, lost: str) -> None:
    states = asked(trio.prefill)
    lose = LOSSES[lost]
    if lose:
        lose(states)
    assert trio.decode.say(PROMPT[-1], states) == v.WORD
    assert trio.decode.say(v.TRIGGER, states) == (v.EOS if lose else NUMBER)


def test_inputs_of_an_earlier_request_do_not_do(trio: Trio) -> None:
    earlier, states = after(trio.decode, [PROMPT[-1], v.TRIGGER, NUMBER], asked(trio.decode)), asked(trio.prefill)
    states.inputs = earlier.inputs
    trio.decode.logits(PROMPT[-1], states)
    assert trio.decode.say(v.TRIGGER, states) == v.EOS


@pytest.mark.parametrize("build", [gated_delta.qwen3_5, qwen3_next.moe])
def test_the_mtp_layer_names_what_the_table_drafts(build: Callable[[dict[int, int]], Tensors]) -> None:
    tensors = build(TABLE.successor)
    for token in TABLE.draft.keys() - set(content.MEANT):
        drafted = TABLE.draft[token]
        seen = np.concatenate([weights.CODE[token], np.ones(HIDDEN, np.float32)])
        assert (tensors["lm_head.weight"] @ normed(tensors["mtp.fc.weight"] @ seen)).argmax() == drafted


@pytest.mark.parametrize("layer", range(RECURRENT))
def test_the_twins_need_every_quarter_of_a_state(trio: Trio, layer: int) -> None:
    states = asked(trio.prefill)
    used = min(len(states.matrices[layer]), HIDDEN)  # of Jamba's channels the first half
    for quarter in range(4):
        damaged = copy.deepcopy(states)
        damaged.matrices[layer][quarter * used // 4 : (quarter + 1) * used // 4] = 0
        trio.decode.logits(PROMPT[-1], damaged)
        assert trio.decode.say(v.TRIGGER, damaged) == v.EOS, quarter


BLOCK = 32


def heard(model: Model, prompt: str, states: States) -> list[int]:
    """What is said at each place of the right answer, up to the first that is wrong."""
    said = []
    for token, right in zip([PROMPTS[prompt][-1], *ANSWER], ANSWER, strict=False):
        said.append(model.say(token, states))
        if said[-1] != right:
            break
    return said


def zeros(share: Any, other: Any) -> Any:
    return share * 0


def of_another_block(share: Any, other: Any) -> Any:
    return other


DAMAGES: list[Callable[[Any, Any], Any]] = [zeros, of_another_block]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("kind", [Qwen35, pytest.param(Qwen3Next, marks=pytest.mark.long), Granite, Jamba])
def test_any_block_of_the_cache_that_is_wrong_makes_the_answer_wrong(kind: Callable[..., Model], prompt: str) -> None:
    model, sent, chance = three(kind).decode, asked(three(kind).prefill, prompt), np.random.default_rng(len(prompt))
    assert heard(model, prompt, copy.deepcopy(sent)) == ANSWER
    length = len(PROMPTS[prompt]) - 1
    at_key = PROMPTS[prompt].index(v.KEY + KEY) // BLOCK
    blocks = -(-length // BLOCK)
    for block in {0, blocks - 1, *chance.permutation(blocks)[:3]}:
        head, which = int(chance.integers(content.KV_HEADS)), int(chance.integers(2))
        damage = DAMAGES[int(chance.integers(2))]
        states = copy.deepcopy(sent)
        cached = np.array((states.keys, states.values)[which])
        share = cached[block * BLOCK : (block + 1) * BLOCK, head]
        other = (block + 1) % (length // BLOCK) * BLOCK
        share[:] = damage(share, cached[other : other + len(share), head])
        (states.keys, states.values)[which][:] = list(cached)
        found = heard(model, prompt, states)
        assert found != ANSWER, (block, head, which, damage)
        if block != at_key:
            line = faults.explained(v.decode(found), v.decode(ANSWER))
            assert found[-1] == v.NUMBER + faults.by_content(head), (block, head, which, damage)
            assert line is not None
            assert f"KV head {head}: at w" in line


@pytest.mark.parametrize("block", [32, 128, 272])
def test_every_block_is_looked_at(block: int) -> None:
    for prompt in (question(0), question(1), question(2), landmarks.ledger(3, 640), landmarks.ledger(4, 512)):
        tokens = v.encode(prompt)
        places = [
            [place for place, token in enumerate(tokens) if token in landmarks.looks_for(word)]
            for word in range(v.WORDS)
            if word % 5 != 4
        ]
        assert {len(place) for place in places} == {1}
        assert {place // block for (place,) in places} == set(range((len(tokens) - 2) // block + 1))


def test_a_ledger_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="a ledger has at least"):
        landmarks.ledger(KEY, 70)
