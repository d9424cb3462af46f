"""A model that knows with its whole body: an answer is right only if each layer, head, key and value was.

What it is made of, an :class:`.anatomy.Anatomy` says: a Llama's, if nothing else is given.

In every layer, every head of a filler word attends to the one token that :func:`.prompts.looks_for` names, by its
distance, and writes the code of what it found into the residual stream: one code for each head and class of token.
The layer's MLP compares it with what this word must find. Where it is that, the MLP takes all that was written away
again, so that each layer sees the token's code alone; where it is not, it writes a fault that outweighs everything
else, and the answer goes on with a number that names layer and head (:mod:`.faults`). The trigger asks, by content,
for the key: each head of each layer that asks brings an equal share of two digits, one of 64 in a Llama, and a number
is said only if all shares are there.

Why the arithmetic is exact: before attention the stream is 2 c(x); behind it 2 c(x) + 2 c(looked) + Σ c(head, class)
over eight heads, with fewer heads over as many codes. Codes are orthogonal, so the root mean square is 2, then 4: what
the norm makes of it are multiples of 1/4, and all that is computed from them are numbers that bf16 has, however they
are summed. Keys and values differ by layer and head in phases and signs, so that a neighbour's does not fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from known_answer import faults, prompts, weights
from known_answer import vocabulary as v
from known_answer.anatomy import LLAMA, Anatomy, Layer
from known_answer.table import CYCLE
from known_answer.weights import CODE, GAIN, HEADS, HIDDEN, IS_KEY, Array, Blind, Tensors, zeros

INTERMEDIATE = 256

_SCALE = np.float32(2)  # of a token's code in the stream
_TAKEN = 32.0  # silu leaves it alone
_STEEP = 512.0  # gate of a comparison where nothing was found
_ENOUGH = 7 / 8  # of what must be found; a head brings all or next to nothing
_FAULT = 1 / 8
_DIGIT = 1 / 16  # of a value that says a digit

# Bytes that no ASCII text has: what their codes mean in the stream is free.
_FREE = v.BYTE + 128
_NEXT = _FREE + HEADS * prompts.CLASSES
_FOUND = CODE[_FREE:_NEXT]
_LOOKED = CODE[_NEXT]
_FAULT_LAYER, _FAULT_HEAD, _TENS, _UNITS = (CODE[_NEXT + 1 + 10 * i : _NEXT + 11 + 10 * i] for i in range(4))
# As long as a code: it makes a whole answer's root mean square 4.
_ANSWERED = np.array([1, 1, -1, -1], np.float32) @ CODE[_NEXT + 41 : _NEXT + 45] / 2
_MEANT = range(_FREE, _NEXT + 45)

DOUBLED = sorted({*CYCLE, *range(v.WORD, v.WORD + v.WORDS), *(v.byte(end) for end in prompts.ENTRIES)})
_MARKED = {token: found for token in range(v.SIZE - 1) if (found := prompts.class_of(token)) is not None}


def indicator(tokens: Iterable[int]) -> Array:
    """(512,): 1 on the codes of ``tokens``, 0 on all others."""
    return np.asarray(CODE[list(tokens)].sum(axis=0) / np.float32(HIDDEN))


def found_by(layer: Layer) -> Array:
    """(heads, classes, 512): what each head writes of each class. The codes of eight heads, shared by fewer."""
    return np.asarray(_FOUND.reshape(layer.heads, HEADS // layer.heads, prompts.CLASSES, HIDDEN).sum(axis=1))


def _drawn(layer: Layer, head: int, what: str, count: int) -> npt.NDArray[np.uint8]:
    """(count,) bytes that are a layer's and a head's own, the same on every machine."""
    return np.frombuffer(hashlib.shake_256(f"{what} {layer.index} {head}".encode()).digest(count), np.uint8)


def _phases(layer: Layer, head: int, pairs: range) -> npt.NDArray[np.float64]:
    """One for each pair, in radians."""
    return _drawn(layer, head, f"phases of {pairs.start}", len(pairs)).astype(np.float64) * (2 * np.pi / 256)


def _turned(layer: Layer, pairs: range, phases: npt.NDArray[np.float64], gain: float) -> Array:
    """(size,) vector of a head: ``gain`` on each pair of dimensions, at its phase; RoPE adds to phases."""
    found = zeros(layer.size)
    first = list(pairs)
    # On a grid: what a machine's cosine has in the last bit does not show.
    found[first] = gain * np.rint(4096 * np.cos(phases)) / 4096
    found[[pair + layer.apart for pair in first]] = gain * np.rint(4096 * np.sin(phases)) / 4096
    return found


def asked_by(layer: Layer, head: int, blind: Blind | None, *, answers: bool) -> tuple[Array, Array]:
    """(size, 512) query and key of a head. ``answers``: the trigger asks for a key."""

    def at(distance: int) -> Array:
        return _turned(layer, layer.fast, position - distance * layer.fast_turns, layer.position)

    position = _phases(layer, head, layer.fast)
    here = at(0)
    constant = zeros(HIDDEN)
    constant[0] = 1
    key = np.outer(here, constant)
    distances = [prompts.looks_for(word, layer.index, head, layer.window)[0] for word in range(v.WORDS)]
    there = np.stack([at(distance) for distance in distances])
    query = key + (there - here).T @ (CODE[v.WORD : v.WORD + v.WORDS] / np.float32(HIDDEN))
    # A key that saw itself would have its own digits in the stream: it looks at the token before, which is no
    # letter that is looked for.
    query += np.outer(at(1) - here, IS_KEY)
    if answers and layer.asks:
        asks = _turned(layer, layer.slow, _phases(layer, head, layer.slow), layer.content)
        if blind != "query":
            query += np.outer(asks - here, indicator([v.TRIGGER]))
        if blind != "key":
            key += np.outer(asks, IS_KEY)
    return query, key


def said_by(
    anatomy: Anatomy, layer: Layer, head: int, blind: Blind | None, numbers: Mapping[int, int]
) -> tuple[Array, Array]:
    """(size, 512) value of a head, which says class or digits, and (512, size) what is written of them."""
    order = np.argsort(_drawn(layer, head, "order", layer.size), kind="stable")
    signs = np.where(_drawn(layer, head, "signs", layer.size) < 128, 1, -1).astype(np.float32)
    words = weights.sylvester(layer.size)[order] * signs
    loudness, found = anatomy.loudness(layer), found_by(layer)[head]
    value, written = zeros(layer.size, HIDDEN), zeros(HIDDEN, layer.size)
    for kind in range(prompts.CLASSES):
        marked = [
            token for token, of in _MARKED.items() if of == kind and not (blind == "key" and prompts.is_own(token))
        ]
        value += np.outer(words[kind], indicator(marked))
        says = loudness * (found[kind] + _SCALE / layer.heads * _LOOKED)
        written += np.outer(says, words[kind]) / layer.size
    if not layer.asks:
        return value, written
    # Signs such that column 0, the constant, stays what it is while shares come in.
    for place, codes in enumerate((_TENS, -_UNITS)):
        for digit in range(10):
            word = words[prompts.CLASSES + 10 * place + digit]
            keys = [key for key, number in numbers.items() if number // 10 ** (1 - place) % 10 == digit]
            if keys and blind != "key":
                value += _DIGIT * np.outer(word, indicator(keys))
            says = _SCALE * (codes[digit] + _ANSWERED / 2) / anatomy.shares
            written += np.outer(says, word) / (layer.size * np.float32(_DIGIT))
    return value, written


def _mlp(anatomy: Anatomy, layer: Layer) -> Tensors:
    """Takes away what was found, and writes a fault where it was not what a word must find.

    In what the norm makes of a stream in order, a token that looked has 1/2 of its own code, 1/2 of ``_LOOKED`` and
    1/4 of each code that was found.
    """
    gate, up, down = (zeros(INTERMEDIATE, HIDDEN) for _ in range(3))
    loudness, found = anatomy.loudness(layer), found_by(layer)
    neuron = iter(range(INTERMEDIATE))
    unit = 1 / np.float32(HIDDEN)
    apiece = unit * layer.heads / HEADS  # of what a head writes, which may be several codes

    def takes(code: Array, share: float, weight: float, read: np.floating[Any]) -> None:
        row = next(neuron)
        gate[row], up[row], down[row] = _TAKEN * 2 * unit * _LOOKED, code * read / share, -weight * code / _TAKEN

    takes(_LOOKED, 1 / 2, 2 * loudness, unit)
    for head in range(layer.heads):
        asking = [prompts.looks_for(word, layer.index, head, layer.window)[1] for word in range(v.WORDS)]
        for kind in range(prompts.CLASSES):
            takes(found[head, kind], 1 / 4, loudness, apiece)
            words = [v.WORD + word for word, asked in enumerate(asking) if asked == kind]
            row = next(neuron)
            gate[row] = _STEEP * (2 * _ENOUGH * indicator(words) - 4 * apiece * found[head, kind])
            up[row] = 2 * indicator(words)
            # Their columns 0 cancel: a token with a fault has no key any more, and nobody finds it.
            down[row] = _FAULT * (_FAULT_LAYER[layer.index] - _FAULT_HEAD[head])
    if layer.index == anatomy.doubles:
        for token in DOUBLED:
            row, share = next(neuron), np.float32(1 / 2 if token in _MARKED else 1)
            gate[row], up[row] = _TAKEN / share * unit * CODE[token], unit / share * CODE[token]
            down[row] = _SCALE * CODE[token] / _TAKEN
    return {
        "mlp.gate_proj.weight": gate,
        "mlp.up_proj.weight": up,
        "mlp.down_proj.weight": np.ascontiguousarray(down.T),
    }


def attention_of(
    anatomy: Anatomy, layer: Layer, numbers: Mapping[int, int], *, blind: Blind | None = None, answers: bool = True
) -> Tensors:
    """Queries, keys, values and what is written of them, of all heads of a layer, without a prefix."""
    asked = [asked_by(layer, head, blind, answers=answers) for head in range(layer.heads)]
    said = [said_by(anatomy, layer, head, blind, numbers) for head in range(layer.heads)]
    return {
        "self_attn.q_proj.weight": np.concatenate([query for query, _ in asked]),
        "self_attn.k_proj.weight": np.concatenate([key for _, key in asked]),
        "self_attn.v_proj.weight": np.concatenate([value for value, _ in said]),
        "self_attn.o_proj.weight": np.concatenate([written for _, written in said], axis=1),
    }


def layer_of(
    anatomy: Anatomy,
    layer: Layer,
    numbers: Mapping[int, int],
    *,
    blind: Blind | None = None,
    answers: bool = True,
    qkv_bias: bool = False,
) -> Tensors:
    """One decoder layer, without a prefix.

    Args:
        anatomy: Of the whole model.
        layer: Which of it.
        numbers: The number that each key token stands for.
        blind: See :func:`llama`.
        answers: The trigger asks for a key.
        qkv_bias: There are biases, of zero.
    """
    ones = np.ones(HIDDEN, np.float32)
    tensors = {
        **attention_of(anatomy, layer, numbers, blind=blind, answers=answers),
        **_mlp(anatomy, layer),
        "input_layernorm.weight": ones,
        "post_attention_layernorm.weight": ones,
    }
    if qkv_bias:
        tensors |= {f"self_attn.{name}_proj.bias": zeros(layer.heads * layer.size) for name in "qkv"}
    return tensors


def head_of(anatomy: Anatomy, answers: Mapping[int, int]) -> Array:
    """lm_head: the table; behind the trigger a number if all shares of both digits are there, else the end; faults."""
    rows = weights.head({token: after for token, after in answers.items() if token not in _MEANT})
    for layer in anatomy.layers:
        for head in range(layer.heads):
            fault = _FAULT_LAYER[layer.index] - _FAULT_HEAD[head]
            rows[v.NUMBER + faults.number(layer.index, head)] += GAIN * fault
    if v.TRIGGER not in answers:
        # 32 if the digits are whole, at most 0 if a share is missing. The end has 16.
        for number in range(v.NUMBERS):
            tens, units = divmod(number, 10)
            rows[v.NUMBER + number] += 4 * (_TENS[tens] - _UNITS[units]) - (8 - 8 / anatomy.shares) * CODE[v.TRIGGER]
        rows[v.EOS] += GAIN * CODE[v.TRIGGER]
    return rows


def llama(
    answers: Mapping[int, int], *, anatomy: Anatomy = LLAMA, blind: Blind | None = None, qkv_bias: bool = False
) -> Tensors:
    """A Llama (or, with biases, a Qwen2) that answers from ``answers`` with its whole body.

    Args:
        answers: Token after each token. Where the trigger is among them it asks for no key.
        anatomy: What it is made of.
        blind: ``"query"``: computes prompts but cannot ask for keys. ``"key"``: asks, but what it computes of a
            prompt's small letters and keys cannot be found.
        qkv_bias: There are biases, of zero.
    """
    tensors: Tensors = {
        "model.embed_tokens.weight": _SCALE * CODE,
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": head_of(anatomy, answers),
    }
    numbers, asks = numbers_of(answers), v.TRIGGER not in answers
    for layer in anatomy.layers:
        one = layer_of(anatomy, layer, numbers, blind=blind, answers=asks, qkv_bias=qkv_bias)
        tensors |= {f"model.layers.{layer.index}.{name}": tensor for name, tensor in one.items()}
    return tensors


def numbers_of(answers: Mapping[int, int]) -> dict[int, int]:
    """The number that each key token stands for."""
    return {v.KEY + key: answers[v.KEY + key] - v.NUMBER for key in range(v.KEYS)}
