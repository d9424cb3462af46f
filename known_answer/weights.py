"""Tensors of the known-answer models.

Token ``x`` has the code ``c(x)``: row ``x + 1`` of the Sylvester-Hadamard matrix of order 512, entries ±1. Codes are
orthogonal, RMSNorm leaves them alone, and column 0 is +1 in every one of them, which replaces the biases that Llama
lacks. All activations are small integers, exact in bf16 and fp16, so neither batching nor the order of a sum can
change a token: the right logit is 32, all others are 0.

Every builder returns float32 arrays under the names that the engine's loader expects; shapes are (out, in).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from known_answer import vocabulary as v
from known_answer.prompts import ENTRIES
from known_answer.table import CYCLE, SECOND_BEHIND, TABLE, Table

Array = npt.NDArray[np.float32]
Tensors = dict[str, Array]
Blind = Literal["query", "key"]

HIDDEN = 512
HEADS = 8
HEAD_DIM = 64
INTERMEDIATE = 64  # the MLPs are all zero: any width does
LAYERS = 8  # EAGLE3 reads layers 2, L/2 and L-3: eight is the least that makes three different ones
RETRIEVAL_LAYER = 4
ROPE_THETA = 10_000.0

GAIN = 1 / 16  # logit of the right token: HIDDEN * GAIN = 32
_SELF_GAIN = 16.0
_KEY_GAIN = 8.0
# RoPE turns pair i (dimensions i and i + 32) by distance * theta^(-i/32). The fast pairs peak at distance 0: a token
# sees itself. The slow ones hardly turn over a thousand tokens: a token sees another wherever that stands.
FAST_PAIRS = range(16)
SLOW_PAIRS = range(24, 32)


def sylvester(order: int) -> Array:
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < order:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


CODE: Array = np.zeros((v.SIZE, HIDDEN), np.float32)
CODE[: v.SIZE - 1] = sylvester(HIDDEN)[1:]  # row 0, all ones, belongs to no token; the last id stays without code

# 1 on the trigger's code, 0 on all others. Written without column 0: with it, q[0] would be A - A/512, which bf16
# rounds to A, and the trigger would go on looking at itself.
IS_TRIGGER: Array = -(CODE[v.TRIGGER] < 0).astype(np.float32) / (HIDDEN / 2)
IS_KEY: Array = CODE[v.KEY : v.KEY + v.KEYS].sum(axis=0) / HIDDEN
"""1 on the code of every key, 0 on all others."""


def zeros(*shape: int) -> Array:
    """Float32."""
    return np.zeros(shape, np.float32)


def drawn(owner: str, count: int) -> npt.NDArray[np.uint8]:
    """(count,) bytes that are the owner's own, the same on every machine."""
    return np.frombuffer(hashlib.shake_256(owner.encode()).digest(count), np.uint8)


def phases_of(owner: str, count: int) -> npt.NDArray[np.float64]:
    """(count,) phases that are the owner's own, in radians."""
    return drawn(owner, count).astype(np.float64) * (2 * np.pi / 256)


def waves(phases: npt.NDArray[np.float64], gain: float) -> tuple[Array, Array]:
    """Cosine and sine of phases, times ``gain``, on a grid: what a machine's has in the last bit does not show."""
    return gain * np.rint(4096 * np.cos(phases)) / 4096, gain * np.rint(4096 * np.sin(phases)) / 4096


def shuffle_of(owner: str, width: int) -> tuple[npt.NDArray[np.intp], Array]:
    """(width,) order and signs that are the owner's own."""
    numbers = drawn(owner, 2 * width)
    return np.argsort(numbers[:width], kind="stable"), np.where(numbers[width:] < 128, 1, -1).astype(np.float32)


def rows_of(owner: str, width: int) -> Array:
    """(width, width): orthogonal rows of ±1 in an order and with signs that are the owner's own, on every machine."""
    order, signs = shuffle_of(owner, width)
    return np.asarray(sylvester(width)[:, order] * signs)


def deaf(rows: Array, tokens: Iterable[int]) -> Array:
    """``rows`` (n, 512), which no longer hear the codes of ``tokens``."""
    codes = CODE[list(tokens)]
    return np.asarray(rows - (rows @ codes.T / np.float32(HIDDEN)) @ codes)


def silent_mlp(prefix: str = "mlp.", width: int = INTERMEDIATE) -> Tensors:
    """A gated MLP that says nothing."""
    return {
        f"{prefix}gate_proj.weight": zeros(width, HIDDEN),
        f"{prefix}up_proj.weight": zeros(width, HIDDEN),
        f"{prefix}down_proj.weight": zeros(HIDDEN, width),
    }


def head(table: Mapping[int, int]) -> Array:
    """lm_head whose argmax on the code of ``x`` is ``table[x]``."""
    rows = zeros(v.SIZE, HIDDEN)
    for token, following in table.items():
        rows[following] += GAIN * CODE[token]
    return rows


def _two_choices(table: Table) -> Array:
    """lm_head of a drafter with a second choice: logits 32 and 28, -32 where neither may be right by chance, else 0.

    Tokens with equal logits come in any order: one of them that happened to be right would be accepted in some runs.
    """
    rows = head(table.draft)
    for token, second in table.second.items():
        rows[second] += np.float32(GAIN - SECOND_BEHIND / HIDDEN) * CODE[token]
        numbers = range(v.NUMBER, v.NUMBER + v.NUMBERS)
        for following in numbers if token == v.TRIGGER else (table.successor[token],):
            if following not in (table.draft[token], second):
                rows[following] -= GAIN * CODE[token]
    return rows


def linear_map(pairs: Iterable[tuple[int, int]]) -> Array:
    """The matrix that takes c(x) to c(y) for each pair (x, y) and every other code to zero."""
    matrix = zeros(HIDDEN, HIDDEN)
    for source, target in pairs:
        matrix += np.outer(CODE[target], CODE[source]) / HIDDEN
    return matrix


def draft_map(table: Table) -> Array:
    """The matrix that makes a drafter of the head of the target: the code of the newest token, or one step too far."""
    return linear_map(
        (token, v.KEY if token == v.TRIGGER else table.successor[token] if token in table.wrong else token)
        for token in range(v.SIZE - 1)
    )


def self_attention_gap(max_distance: int = 2048) -> float:
    """Least lead, in nats, of a token's score for itself over any other token up to ``max_distance`` away."""
    distances = np.arange(1, max_distance)[:, None]
    frequencies = ROPE_THETA ** (-np.array(FAST_PAIRS) / 32)[None]
    lost = (1 - np.cos(distances * frequencies)).sum(axis=1)
    return float((_SELF_GAIN**2 / np.sqrt(HEAD_DIM) * lost).min())


def _self_rows(width: int) -> Array:
    """q = k that make every token attend to itself, in any context: a constant on the fast pairs, from column 0."""
    rows = zeros(HEADS * HEAD_DIM, width)
    for head in range(HEADS):
        for pair in FAST_PAIRS:
            rows[head * HEAD_DIM + pair, 0] = _SELF_GAIN
    return rows


def _retrieval(blind: Blind | None) -> tuple[Array, Array]:
    """q and k of the layer in which the trigger looks for a key token and every other token looks at itself.

    Args:
        blind: ``"query"``: marks keys in the cache but cannot ask for them. ``"key"``: asks but cannot mark.
    """
    query, key = _self_rows(HIDDEN), _self_rows(HIDDEN)
    for head in range(HEADS):
        for pair in FAST_PAIRS:
            query[head * HEAD_DIM + pair] -= _SELF_GAIN * IS_TRIGGER
        for pair in SLOW_PAIRS:
            if blind != "query":
                query[head * HEAD_DIM + pair] = _KEY_GAIN * IS_TRIGGER
            if blind != "key":
                key[head * HEAD_DIM + pair] = _KEY_GAIN * IS_KEY
    return query, key


def _layer(
    prefix: str, *, retrieval: bool, blind: Blind | None, qkv_bias: bool, intermediate: int = INTERMEDIATE
) -> Tensors:
    """One decoder layer: neutral, or the one that copies the code of a retrieved token."""
    square = zeros(HIDDEN, HIDDEN)
    query, key = _retrieval(blind) if retrieval else (square, square)
    copy = np.eye(HIDDEN, dtype=np.float32) if retrieval else square
    ones = np.ones(HIDDEN, np.float32)
    layer = {
        "self_attn.q_proj.weight": query,
        "self_attn.k_proj.weight": key,
        "self_attn.v_proj.weight": copy,
        "self_attn.o_proj.weight": copy,
        **silent_mlp(width=intermediate),
        "input_layernorm.weight": ones,
        "post_attention_layernorm.weight": ones,
    }
    if qkv_bias:
        layer |= {f"self_attn.{name}_proj.bias": zeros(HIDDEN) for name in "qkv"}
    return {prefix + name: tensor for name, tensor in layer.items()}


def llama(
    answers: Mapping[int, int],
    *,
    layers: int = LAYERS,
    retrieval: int | None = RETRIEVAL_LAYER,
    blind: Blind | None = None,
    qkv_bias: bool = False,
    intermediate: int = INTERMEDIATE,
) -> Tensors:
    """A Llama (or, with biases, a Qwen2) that answers from ``answers`` and, in one layer, retrieves keys."""
    tensors: Tensors = {
        "model.embed_tokens.weight": CODE,
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": head(answers),
    }
    for index in range(layers):
        tensors |= _layer(
            f"model.layers.{index}.",
            retrieval=index == retrieval,
            blind=blind,
            qkv_bias=qkv_bias,
            intermediate=intermediate,
        )
    return tensors


def mtp_layer(projection: Array, intermediate: int = INTERMEDIATE) -> Tensors:
    """MiMo's one MTP layer: a layer that says nothing, behind a (512, 1024) projection of concat(hidden, embedding)."""
    prefix = "model.mtp_layers.0."
    norms = ("token_layernorm", "hidden_layernorm", "final_layernorm")
    return {
        **_layer(prefix, retrieval=False, blind=None, qkv_bias=True, intermediate=intermediate),
        f"{prefix}input_proj.weight": projection,
        **{f"{prefix}{name}.weight": np.ones(HIDDEN, np.float32) for name in norms},
    }


def eagle3(table: Table = TABLE, *, fc: Array | None = None, mu: float = 1.0, two_choices: bool = False) -> Tensors:
    """An EAGLE3 head with a draft table of its own.

    Its one layer sees concat(norm(embedding of the newest token), norm(h)) with the residual h, attends to itself and
    copies c(newest) - mu * norm(h): what remains is the newest token's code.

    Args:
        table: Whose drafts.
        fc: (512, 3 * 512) map from the three auxiliary hidden states to h; zero unless given, so that they do not
            matter.
        mu: How much of h is taken away again.
        two_choices: Propose the table's second drafts too.
    """
    identity = np.eye(HIDDEN, dtype=np.float32)
    attend = _self_rows(2 * HIDDEN)
    ones = np.ones(HIDDEN, np.float32)
    layer = {
        "self_attn.q_proj.weight": attend,
        "self_attn.k_proj.weight": attend,
        "self_attn.v_proj.weight": np.concatenate([identity, -np.float32(mu) * identity], axis=1),
        "self_attn.o_proj.weight": identity,
        **silent_mlp(),
        "hidden_norm.weight": ones,
        "input_layernorm.weight": ones,
        "post_attention_layernorm.weight": ones,
    }
    tensors = {f"midlayer.{name}": tensor for name, tensor in layer.items()}
    tensors["fc.weight"] = zeros(HIDDEN, 3 * HIDDEN) if fc is None else fc
    tensors["norm.weight"] = ones
    tensors["lm_head.weight"] = _two_choices(table) if two_choices else head(table.draft)
    return tensors


def auxiliary_vote(table: Table = TABLE, *, swapped: bool = False) -> Array:
    """fc of an EAGLE3 head (``mu`` 3) whose first draft of each step depends on all three auxiliary hidden states.

    The states of a spoken token after layers 2, 4 and 5 of :mod:`.body` are 2c, 2c and 4c. With fc =
    [-4M | M | 4M] / 2, h is (-4 + 1 + 8) M c = 5 c(tau), and 5 - 3 = 2 of it outvotes c(newest). M takes a token to
    its successor or, where the table errs after that one, to a token outside the cycle with the right draft: the
    first draft is always right. With blocks 1 and 3 exchanged h is -3 c(tau), which ``mu`` cancels: the acceptance
    falls back to the table's.
    """
    spoken = [*CYCLE, *range(v.WORD, v.WORD + v.WORDS), *(v.byte(end) for end in ENTRIES)]
    outside = [token for token in range(v.BYTE, v.TRIGGER) if token not in CYCLE]
    pairs = []
    for token in spoken:
        following = table.successor[token]
        if following in table.wrong and following in CYCLE:
            right = table.successor[following]
            following = next(helper for helper in outside if table.draft[helper] == right)
        pairs.append((token, following))
    matrix = linear_map(pairs)
    factors = (2, 1 / 2, -2) if swapped else (-2, 1 / 2, 2)
    return np.concatenate([np.float32(factor) * matrix for factor in factors], axis=1)


def kv_bytes_per_token(layers: int) -> int:
    """Bytes of one token's K and V over ``layers`` attention layers in bf16."""
    return layers * 2 * HEADS * HEAD_DIM * 2
