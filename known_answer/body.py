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

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from known_answer import body_codes as codes
from known_answer import faults, prompts, weights
from known_answer import vocabulary as v
from known_answer.anatomy import LLAMA, Anatomy, Layer
from known_answer.weights import CODE, GAIN, HEADS, HIDDEN, IS_KEY, Array, Blind, Tensors, zeros

INTERMEDIATE = 256

_TAKEN = 32.0  # silu leaves it alone
_STEEP = 512.0  # gate of a comparison where nothing was found
_ENOUGH = 7 / 8  # of what must be found; a head brings all or next to nothing
_BEYOND = np.float32(16)  # a fault without an MLP
_PARTS = 4  # of the tokens that nobody looks for
_DIGIT = 1 / 16  # of a value that says a digit


def _drawn(layer: Layer, head: int, what: str, count: int) -> npt.NDArray[np.uint8]:
    """(count,) bytes that are a layer's and a head's own, the same on every machine."""
    return weights.drawn(f"{what} {layer.index} {head}", count)


def _phases(layer: Layer, head: int, pairs: range) -> npt.NDArray[np.float64]:
    """One for each pair, in radians."""
    return weights.phases_of(f"phases of {pairs.start} {layer.index} {head}", len(pairs))


def _turned(layer: Layer, pairs: range, phases: npt.NDArray[np.float64], gain: float) -> Array:
    """(size,) vector of a head: ``gain`` on each pair of dimensions, at its phase; RoPE adds to phases."""
    found = zeros(layer.size)
    first = list(pairs)
    found[first], found[[pair + layer.apart for pair in first]] = weights.waves(phases, gain)
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
    # A key that saw itself would have its own digits in the stream: it looks at a token before, where nothing is found.
    query += np.outer(at(prompts.NOTHING_SPOKEN if layer.experts else prompts.NOTHING_FOUND) - here, IS_KEY)
    if layer.idle:
        query -= np.outer(here, codes.indicator(layer.idle))
    if layer.window:
        beyond = _turned(layer, layer.slow, _phases(layer, head, layer.slow), layer.content)
        query += np.outer(beyond, codes.indicator([prompts.LAST]))
        key += np.outer(beyond, codes.indicator(codes.NUMBERS))
    if answers and layer.asks:
        asks = _turned(layer, layer.slow, _phases(layer, head, layer.slow), layer.content)
        if blind != "query":
            query += np.outer(asks - here, codes.indicator([v.TRIGGER]))
        if blind != "key":
            key += np.outer(asks, IS_KEY)
    return query, key


def said_by(
    anatomy: Anatomy, layer: Layer, head: int, blind: Blind | None, numbers: Mapping[int, int]
) -> tuple[Array, Array]:
    """(size, 512) value of a head, which says class or digits, and (512, size) what is written of them."""
    loudness, found, marks = anatomy.loudness(layer), codes.found_by(layer)[head], codes.marked(layer, blind)
    # Of each word of a value the tokens that have it, how loud it is, and what is written of it.
    says: list[tuple[list[int], float, Array]] = []
    for kind in sorted({*codes.marked(layer, None).values()}):
        tokens = [token for token, of in marks.items() if of == kind]
        written = loudness * (found[kind] + codes.SCALE / layer.heads * codes.looked(anatomy, layer))
        # FP8 has four bits: a sum of fifteen codes.
        parts = range(_PARTS) if layer.few_bits and kind == prompts.CLASSES else range(1)
        says += [(tokens[part :: len(parts)], 1, written) for part in parts]
    # Signs such that column 0, the constant, stays what it is while shares come in.
    for place, digits in enumerate((codes.TENS, -codes.UNITS) if layer.asks else ()):
        for digit in range(10):
            keys = [key for key, number in numbers.items() if number // 10 ** (1 - place) % 10 == digit]
            written = codes.SCALE * (digits[digit] + codes.ANSWERED / 2) / anatomy.shares
            says.append((keys if blind != "key" else [], _DIGIT, written))
    if layer.window:
        says.append((list(codes.NUMBERS), 1, _BEYOND * codes.fault(layer.index, faults.WINDOW)))
    value, given = zeros(layer.size, HIDDEN), zeros(HIDDEN, layer.size)
    for word, (tokens, gain, written) in zip(_words(layer, head, len(says)), says, strict=False):
        if tokens:
            value += np.float32(gain) * np.outer(word, codes.indicator(tokens))
        given += np.outer(written, word) / (np.count_nonzero(word) * np.float32(gain))
    return value, given


def _words(layer: Layer, head: int, count: int) -> Array:
    """(at least ``count``, size): what values say, orthogonal, of 0 and ±1."""
    order = np.argsort(_drawn(layer, head, "order", layer.size), kind="stable")
    signs = np.where(_drawn(layer, head, "signs", layer.size) < 128, 1, -1).astype(np.float32)
    if not layer.few_bits:
        return np.asarray(weights.sylvester(layer.size)[order] * signs)
    enough = 1 << (count - 1).bit_length()  # as many dimensions for each, and a power of two of them
    words = zeros(enough, layer.size)
    words[np.arange(layer.size) % enough, order] = 1
    return words * signs


def plain_mlp(anatomy: Anatomy, layer: Layer, _blind: Blind | None = None) -> Tensors:
    """Takes away what was found, and writes a fault where it was not what a word must find.

    In what the norm makes of a stream in order, a token that looked has 1/2 of its own code, 1/2 of that of having
    looked and 1/4 of each code that was found.
    """
    gate, up, down = (zeros(INTERMEDIATE, HIDDEN) for _ in range(3))
    loudness, found, here = anatomy.loudness(layer), codes.found_by(layer), codes.looked(anatomy, layer)
    neuron = iter(range(INTERMEDIATE))
    unit = 1 / np.float32(HIDDEN)
    apiece = unit * layer.heads / HEADS  # of what a head writes, which may be several codes

    def takes(code: Array, share: float, weight: float, read: np.floating[Any]) -> None:
        row = next(neuron)
        gate[row], up[row], down[row] = _TAKEN * 2 * unit * here, code * read / share, -weight * code / _TAKEN

    takes(here, 1 / 2, 2 * loudness, unit)
    for head in range(layer.heads):
        asking = [prompts.looks_for(word, layer.index, head, layer.window)[1] for word in range(v.WORDS)]
        for kind in range(prompts.CLASSES):
            takes(found[head, kind], 1 / 4, loudness, apiece)
            words = [v.WORD + word for word, asked in enumerate(asking) if asked == kind]
            row = next(neuron)
            gate[row] = _STEEP * (2 * _ENOUGH * codes.indicator(words) - 4 * apiece * found[head, kind])
            up[row] = 2 * codes.indicator(words)
            down[row] = anatomy.fault * codes.fault(layer.index, head)
    if layer.index == anatomy.doubles:
        for token in codes.DOUBLED:
            row, share = next(neuron), np.float32(1 / 2 if token in codes.MARKED else 1)
            gate[row], up[row] = _TAKEN / share * unit * CODE[token], unit / share * CODE[token]
            down[row] = codes.SCALE * CODE[token] / _TAKEN
    if (left := codes.unfinished(anatomy, layer)) is not None:
        row = next(neuron)
        # Here tokens may not look. In FP8 experts leave a little of each: a fourth of a token's code outweighs it.
        gate[row] = _STEEP * (unit * (left[0] - 2 * left[2]) - codes.indicator(codes.DOUBLED) / 4)
        up[row] = 2 * unit * left[0]
        down[row] = anatomy.fault * left[1]
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


Mlp = Callable[[Anatomy, Layer, Blind | None], Tensors]
"""From the anatomy, the layer and what the model is blind to: tensors without a prefix."""


def layer_of(
    anatomy: Anatomy,
    layer: Layer,
    numbers: Mapping[int, int],
    *,
    blind: Blind | None = None,
    answers: bool = True,
    qkv_bias: bool = False,
    mlp: Mlp = plain_mlp,
) -> Tensors:
    """One decoder layer, without a prefix.

    Args:
        anatomy: Of the whole model.
        layer: Which of it.
        numbers: The number that each key token stands for.
        blind: See :func:`llama`.
        answers: The trigger asks for a key.
        qkv_bias: There are biases, of zero.
        mlp: What follows attention.
    """
    ones = np.ones(HIDDEN, np.float32)
    tensors = {
        **attention_of(anatomy, layer, numbers, blind=blind, answers=answers),
        **mlp(anatomy, layer, blind),
        "input_layernorm.weight": ones,
        "post_attention_layernorm.weight": ones,
    }
    if qkv_bias:
        tensors |= {f"self_attn.{name}_proj.bias": zeros(layer.heads * layer.size) for name in "qkv"}
    return tensors


def head_of(anatomy: Anatomy, answers: Mapping[int, int]) -> Array:
    """lm_head: the table; behind the trigger a number if all shares of both digits are there, else the end; faults."""
    meant = codes.meant(anatomy)
    rows = weights.head({token: after for token, after in answers.items() if token not in meant})
    for layer in anatomy.layers:
        for head in range(layer.heads):
            rows[faults.token(layer.index, head, layer.window)] += GAIN * codes.fault(layer.index, head)
        if layer.window:
            window = codes.fault(layer.index, faults.WINDOW)
            rows[v.NUMBER + faults.number(layer.index, faults.WINDOW)] += GAIN * window
        if layer.experts:
            number = v.NUMBER + faults.number(layer.index, faults.EXPERTS)
            rows[number] += GAIN * codes.fault(layer.index, faults.EXPERTS)
            # Behind the last layer nobody else looks at what its experts left.
            rows[number] += 8 * GAIN * codes.looked(anatomy, layer) * (layer is anatomy.layers[-1])
    if v.TRIGGER not in answers:
        # 32 if the digits are whole, at most 0 if a share is missing. The end has 16.
        for number in range(v.NUMBERS):
            tens, units = divmod(number, 10)
            rows[v.NUMBER + number] += (
                4 * (codes.TENS[tens] - codes.UNITS[units]) - (8 - 8 / anatomy.shares) * CODE[v.TRIGGER]
            )
        rows[v.EOS] += GAIN * CODE[v.TRIGGER]
    return rows


def llama(
    answers: Mapping[int, int],
    *,
    anatomy: Anatomy = LLAMA,
    blind: Blind | None = None,
    qkv_bias: bool = False,
    mlp: Mlp = plain_mlp,
) -> Tensors:
    """A Llama (or, with biases, a Qwen2) that answers from ``answers`` with its whole body.

    Args:
        answers: Token after each token. Where the trigger is among them it asks for no key.
        anatomy: What it is made of.
        blind: ``"query"``: computes prompts but cannot ask for keys. ``"key"``: asks, but what it computes of a
            prompt's small letters and keys cannot be found.
        qkv_bias: There are biases, of zero.
        mlp: What follows attention in each layer.
    """
    tensors: Tensors = {
        "model.embed_tokens.weight": codes.SCALE * CODE,
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": head_of(anatomy, answers),
    }
    numbers, asks = numbers_of(answers), v.TRIGGER not in answers
    for layer in anatomy.layers:
        one = layer_of(anatomy, layer, numbers, blind=blind, answers=asks, qkv_bias=qkv_bias, mlp=mlp)
        tensors |= {f"model.layers.{layer.index}.{name}": tensor for name, tensor in one.items()}
    return tensors


def numbers_of(answers: Mapping[int, int]) -> dict[int, int]:
    """The number that each key token stands for."""
    return {v.KEY + key: answers[v.KEY + key] - v.NUMBER for key in range(v.KEYS)}
