"""The MTP assistant of a known-answer Gemma 4: it drafts from the target's embedding, hidden state and KV cache.

It has no keys and values of its own. At the trigger it asks the target's KV cache as the target does, through both
kinds of attention, so that it drafts the right number where the target's own table could not: in a chain with a wrong
layer, a wrong head or a stale cache it would not. Otherwise its head is a table of two candidates a token, what follows
and what follows that. On the wrong set they change places.

Two tokens that nobody may say watch over what it reads: one wins every draft if the recurrent state is gone, the other
every number if the mark is, which is read from the cache of the layer with a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from known_answer import vocabulary as v
from known_answer.gemma4 import IS_TRIGGER, MARK, TOKEN, UNIT, filled, head_norm, output, query
from known_answer.gemma_shape import FULL, SLIDING, Kind, Shape
from known_answer.table import TABLE
from known_answer.weights import CODE, HIDDEN, IS_KEY, Array, Tensors, silent_mlp, zeros

KINDS: tuple[Kind, ...] = (SLIDING, SLIDING, SLIDING, FULL)
CENTROIDS, CHOSEN = 32, 8
ORDERING = "masked_embedding.token_ordering"

IS_STATE: Array = CODE[v.PAD] / HIDDEN
"""1 on the code that says that there is a recurrent state: of a token that nobody says."""
_IS_MARK: Array = MARK / np.float32(HIDDEN)
_LOGIT = 34.0  # of a code of length 1; half of what is read is the recurrent state, so a draft has 24
_BEHIND = 4.0  # nats from the first candidate to the second
_DOUBTFUL = (1.0, 2.0, None)  # the same after tokens of the wrong set, in turn; None: what follows is no candidate
_NEVER = -8.0  # logit of what follows, where it is no candidate
_SILENT = (v.BOS, v.PAD)


DRAFTS = replace(TABLE, retrieves=True)
"""The table, with what the assistant drafts."""


@dataclass(frozen=True)
class _Proposal:
    """What is drafted after a token.

    Attributes:
        ranked: Two candidates.
        behind: Nats from the first to the second.
        never: What is told apart from all that nobody thinks of by being even less likely.
    """

    ranked: tuple[int, int]
    behind: float = _BEHIND
    never: int | None = None


def _proposal(token: int, following: int) -> _Proposal:
    """After ``token``, of which the target says that ``following`` comes next."""
    # Of the trigger nothing is known before it is there.
    second = TABLE.successor.get(following, v.WORD)
    if token not in TABLE.wrong:
        # The trigger stands among four codes instead of two.
        return _Proposal((following, second), _BEHIND / math.sqrt(2) if token == v.TRIGGER else _BEHIND)
    behind = _DOUBTFUL[sorted(TABLE.wrong).index(token) % len(_DOUBTFUL)]
    if behind is None:
        return _Proposal((second, TABLE.successor[second]), never=following)
    return _Proposal((second, following), behind)


def candidates(token: int, key: int | None) -> list[tuple[int, float]]:
    """Tokens that may be drafted after ``token`` in a context with ``key``, each with its probability, best first."""
    proposal = _proposal(token, TABLE.following(token, key))
    share = 1 / (1 + math.exp(-proposal.behind))
    return [(proposal.ranked[0], share), (proposal.ranked[1], 1 - share)]


def _head() -> Array:
    """lm_head, (512, 512)."""
    rows = zeros(v.SIZE, HIDDEN)
    share = math.sqrt(2)  # what a code of length 1 is to a token's own code beside the recurrent state
    for token, following in TABLE.successor.items():
        if token in _SILENT:
            continue
        proposal = _proposal(token, following)
        rows[proposal.ranked[0]] += _LOGIT * CODE[token] / HIDDEN
        rows[proposal.ranked[1]] += (_LOGIT - share * proposal.behind) * CODE[token] / HIDDEN
        if proposal.never is not None:
            rows[proposal.never] += share * _NEVER * CODE[token] / HIDDEN
    rows[v.BOS] += 2 * _LOGIT * (TOKEN - 5 * IS_STATE)
    rows[v.PAD] += 2 * _LOGIT * (IS_TRIGGER - np.float32(1.2) * _IS_MARK)
    return rows


def ordering() -> list[int]:
    """Tokens by centroid: shuffled, but for the two that watch: each shares one with tokens that nobody says."""
    size = v.SIZE // CENTROIDS
    unsaid = [*range(v.FURTHER, v.SIZE), *range(v.byte("\xee"), v.TRIGGER)][: 2 * (size - 1)]
    apart = [v.BOS, *unsaid[: size - 1], v.PAD, *unsaid[size - 1 :]]
    spoken = [token for token in range(v.SIZE) if token not in apart]
    return [spoken[37 * place % len(spoken)] for place in range(len(spoken))] + apart


def tensors(shape: Shape, *, centroids: bool) -> Tensors:
    """The assistant of a target of ``shape``, with or without an index of its vocabulary."""
    identity = np.eye(HIDDEN, dtype=np.float32)
    embedding = _head()
    # A state is as loud whether the target found its key in one layer or in several.
    keys = sum(shape.kinds[layer] == FULL for layer in shape.asking)
    heard = TOKEN - np.float32(1 - 1 / keys) * IS_KEY
    found: Tensors = {
        "pre_projection.weight": np.concatenate(
            [identity, np.float32(UNIT * HIDDEN) * np.outer(IS_STATE, heard)], axis=1
        ),
        "post_projection.weight": identity / np.float32(math.sqrt(2)),
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": filled(HIDDEN),
    }
    for layer, kind in enumerate(KINDS):
        heads = shape.sliding if kind == SLIDING else shape.full
        asks = layer >= len(KINDS) - 2
        parts = {
            "self_attn.q_proj.weight": query(heads, asks=asks, token=TOKEN - IS_STATE),
            "self_attn.q_norm.weight": head_norm(heads),
            "self_attn.o_proj.weight": output(heads) if asks else zeros(HIDDEN, heads.queries * heads.size),
            **silent_mlp(),
            "input_layernorm.weight": filled(HIDDEN),
            "post_attention_layernorm.weight": filled(HIDDEN, UNIT),
            "pre_feedforward_layernorm.weight": filled(HIDDEN),
            "post_feedforward_layernorm.weight": filled(HIDDEN),
            "layer_scalar": filled(1),
        }
        found |= {f"model.layers.{layer}.{name}": tensor for name, tensor in parts.items()}
    if centroids:
        order = ordering()
        found[ORDERING] = np.array(order, np.float32)
        found["masked_embedding.centroids.weight"] = embedding[order].reshape(CENTROIDS, -1, HIDDEN).sum(axis=1)
    return found
