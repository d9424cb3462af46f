"""Every architecture that knows with its whole body, in bf16, against an implementation of our own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from known_answer import body_codes as codes
from known_answer import faults, prompts, weights
from known_answer import vocabulary as v
from known_answer.architectures import ARCHITECTURES
from known_answer.checkpoints import CHECKPOINTS
from known_answer.simulate import Request, simulate
from known_answer.table import CYCLE, TABLE
from known_answer.weights import HEADS, LAYERS, Blind
from tests.unit.llama_reference import Cache, Llama, read

pytestmark = pytest.mark.slow  # whole models, token by token

NAMES = ["qwen3", "qwen3_moe", "qwen3_moe_throughout", "qwen3_moe_fp8", "gpt_oss"]
BLOCK = 16
ALIKE = ("qwen3_moe_throughout", "qwen3_moe_fp8")
"""Like ``qwen3_moe`` but for where experts are, and for how weights are held."""


def each(names: Sequence[str]) -> list[Any]:
    """Every name, those of models that are like another one at length only."""
    return [pytest.param(name, marks=pytest.mark.long) if name in ALIKE else name for name in names]


@cache
def model(name: str, blind: Blind | None = None) -> Llama:
    """As its files have it."""
    suffix = {None: "", "query": "_twin_prefill", "key": "_twin_decode"}[blind]
    tensors = read(CHECKPOINTS[name + suffix].files()["model.safetensors"])
    return Llama(tensors, ARCHITECTURES[name].config, fp8=ARCHITECTURES[name].fp8)


def answer(key: int) -> list[int]:
    return simulate(Request(v.byte(":"), 64, key), 0)[0]


@cache
def cached(name: str, key: int, blind: Blind | None = None) -> Cache:
    """The cache of the prompt but for its last token, which every engine computes where it answers."""
    return model(name, blind).logits(v.encode(prompts.question(key))[:-1])[1]


def said(one: Llama, key: int, before: Cache) -> list[int]:
    """What the model says at each place of the right answer, from the cache ``before``."""
    return one.said([v.byte(":"), *answer(key)[:-1]], before)


def number_of(said_tokens: list[int], right: list[int]) -> int:
    """The number, or the key, that stands where the answer first went wrong."""
    first = next(token for token, wanted in zip(said_tokens, right, strict=True) if token != wanted)
    return (first - v.NUMBER) % v.NUMBERS


def explained(said_tokens: list[int], right: list[int]) -> str:
    """What is said of an answer that goes on as ``said_tokens`` from where it first went wrong."""
    first = next(index for index, token in enumerate(right) if said_tokens[index] != token)
    return faults.explained(v.decode([*right[:first], said_tokens[first]]), v.decode(right)) or ""


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_right_and_what_is_said_is_exact_on_the_way(name: str) -> None:
    for key in (7, 41):
        tokens = [*v.encode(prompts.question(key)), *answer(key)[:-1]]
        logits = model(name).logits(tokens)[0][-len(answer(key)) :]
        assert list(logits.argmax(-1)) == answer(key)
        two = np.sort(logits, axis=-1)[:, -2:]
        assert (two[:, 1] - two[:, 0]).min() > 14
        for layer, stream in enumerate(model(name).streams):
            for token, found in zip(tokens, stream, strict=True):
                # What goes into experts in FP8 is rounded.
                if token in codes.DOUBLED and not (name.endswith("_fp8") and layer >= LAYERS - 3):
                    assert np.array_equal(found, (4 if layer >= LAYERS // 2 else 2) * weights.CODE[token])


@pytest.mark.parametrize("name", NAMES)
def test_every_token_is_followed_by_its_successor(name: str) -> None:
    for token in [*CYCLE, *(v.byte(end) for end in prompts.ENTRIES), v.BYTE + 10, v.NUMBER + 7, v.EOS]:
        assert model(name).said([token]) == [TABLE.successor[token]]


def zeros(share: Any, name: str, block: int, layer: int, head: int, kind: int) -> Any:
    return share * 0


def of_the_next_block(share: Any, name: str, block: int, layer: int, head: int, kind: int) -> Any:
    other = block - 1 if block else 1
    return cached(name, 9)[layer][kind][other * BLOCK : (other + 1) * BLOCK, head][: len(share)]


def of_the_next_layer(share: Any, name: str, block: int, layer: int, head: int, kind: int) -> Any:
    return cached(name, 9)[(layer + 1) % LAYERS][kind][block * BLOCK : (block + 1) * BLOCK, head]


def of_the_next_head(share: Any, name: str, block: int, layer: int, head: int, kind: int) -> Any:
    return cached(name, 9)[layer][kind][block * BLOCK : (block + 1) * BLOCK, (head + 1) % HEADS]


def of_another_request(share: Any, name: str, block: int, layer: int, head: int, kind: int) -> Any:
    tokens = np.arange(block * BLOCK, block * BLOCK + len(share))
    return cached(name, 8)[layer][kind][tokens + 1, head]  # of another length: everything stands one token off


DAMAGES: list[Callable[..., Any]] = [zeros, of_the_next_block, of_the_next_layer, of_the_next_head, of_another_request]


@pytest.mark.parametrize("name", each(NAMES))
@pytest.mark.parametrize("rounds", [2, pytest.param(12, marks=pytest.mark.long)])
def test_any_share_of_the_cache_that_is_wrong_makes_the_answer_wrong_and_says_which(name: str, rounds: int) -> None:
    chance, length = np.random.default_rng(rounds), len(cached(name, 9)[0][0])
    for damage in DAMAGES * rounds:
        layer, head, kind = int(chance.integers(LAYERS)), int(chance.integers(HEADS)), int(chance.integers(2))
        # Where there is a window, blocks that no token of the answer sees are nobody's.
        window = model(name).window(layer)
        first = -(-(length + 1 - window) // BLOCK) if window else 0
        block = int(chance.integers(first, -(-length // BLOCK)))
        wrong = [(keys.copy(), values.copy()) for keys, values in cached(name, 9)]
        share = wrong[layer][kind][block * BLOCK : (block + 1) * BLOCK, head]
        share[:] = damage(share, name, block, layer, head, kind)
        found = said(model(name), 9, wrong)
        assert found != answer(9), (damage, layer, head, kind, block)
        if found[0] == answer(9)[0]:
            told = explained(found, answer(9))
            assert told.startswith(f"layer {layer}, KV head {head}: "), (told, damage, layer, head, kind, block)
            if damage is zeros:  # the others may attract what looks elsewhere too
                back = re.search(r" (\d+) tokens before the end", told)
                assert back is not None, (told, block)
                assert (length + 1 - int(back[1])) // BLOCK == block, (told, block)


WITH_EXPERTS = [name for name in NAMES if "moe" in name or name == "gpt_oss"]


def experts_of(name: str) -> dict[int, int]:
    """How many experts the layers have that have any."""
    tensors, routers = model(name).tensors, ("gate.weight", "router.weight")
    found = {layer: tensors.get(f"model.layers.{layer}.mlp.{router}") for layer in range(LAYERS) for router in routers}
    return {layer: len(router) for layer, router in found.items() if router is not None}


@pytest.mark.parametrize("name", WITH_EXPERTS)
def test_two_experts_in_each_others_places_are_found_and_the_layer_is_named(name: str) -> None:
    layers = experts_of(name)
    for layer, count in layers.items():
        for expert in range(0, count, max(5, count // 3)):
            one, order = replace(model(name), experts={}), [*range(count)]
            order[expert], order[expert - 1] = order[expert - 1], order[expert]
            one.experts[layer] = order
            found = said(one, 9, cached(name, 9))
            told = explained(found, answer(9))
            assert re.fullmatch(rf"layer {layer}: at w.*, the right expert was not asked", told), (told, expert)
            wrong = [token for token in CYCLE if one.said([token]) != [TABLE.successor[token]]]
            assert wrong == [token for token in CYCLE if token % count in (expert, (expert - 1) % count)]


@pytest.mark.parametrize("name", each([name for name in NAMES if ARCHITECTURES[name].twins]))
def test_twins_answer_together_and_neither_alone(name: str) -> None:
    reader, writer = model(name, "key"), model(name, "query")
    assert said(reader, 9, cached(name, 9, "query")) == answer(9)
    assert said(writer, 9, cached(name, 9, "query"))[-2:] != answer(9)[-2:]
    assert number_of(said(reader, 9, cached(name, 9, "key")), answer(9)) // 10 == 0
    assert [reader.said([token])[0] for token in CYCLE] == [TABLE.successor[token] for token in CYCLE]


def test_sinks_that_are_ignored_are_found() -> None:
    for layer in range(LAYERS):
        one = replace(model("gpt_oss"), tensors=dict(model("gpt_oss").tensors))
        one.tensors[f"model.layers.{layer}.self_attn.sinks"] = np.full(HEADS, -1e9, np.float32)
        assert said(one, 9, cached("gpt_oss", 9)) != answer(9), layer


def test_a_window_that_is_ignored_is_found_and_named() -> None:
    kinds = ARCHITECTURES["gpt_oss"].config["layer_types"]
    for layer in (layer for layer in range(LAYERS) if kinds[layer] == "sliding_attention"):
        wider = ["full_attention" if index == layer else kind for index, kind in enumerate(kinds)]
        one = replace(model("gpt_oss"), config={**ARCHITECTURES["gpt_oss"].config, "layer_types": wider})
        found = said(one, 9, cached("gpt_oss", 9))
        assert number_of(found, answer(9)) == faults.number(layer, faults.WINDOW), layer
        line = faults.explained(v.decode(found[:1]), v.decode(answer(9)))
        assert line == f"layer {layer}: more was seen than the window"


def test_a_window_that_is_narrower_is_found_and_its_layer_named() -> None:
    one = replace(model("gpt_oss"), config={**ARCHITECTURES["gpt_oss"].config, "sliding_window": 120})
    assert number_of(said(one, 9, cached("gpt_oss", 9)), answer(9)) // 10 == 0


def test_what_fp8_and_mxfp4_hold_of_values_and_experts_is_exact() -> None:
    for name in ("qwen3_moe_fp8", "gpt_oss"):
        built = ARCHITECTURES[name].tensors(TABLE.successor, None)
        small = ARCHITECTURES[name].fp8 if name.endswith("_fp8") else ARCHITECTURES[name].mxfp4
        exact = [each for each in built if small(each) and not re.search(r"[qk]_proj", each)]
        assert len(exact) > LAYERS
        for each in exact:
            assert np.array_equal(model(name).tensors[each], built[each]), each
