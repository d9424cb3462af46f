"""MiMo with known answers: a Qwen2 that knows with its whole body, and an MTP layer that needs both of its inputs."""

from __future__ import annotations

import numpy as np

from known_answer import body, weights
from known_answer import vocabulary as v
from known_answer.table import CYCLE, TABLE, Table
from known_answer.weights import HIDDEN, Array, Tensors, zeros

_LOUDER, _QUIETER = np.float32(2), np.float32(1 / 2)


def tensors(table: Table = TABLE) -> Tensors:
    """The target, and one MTP layer that shares its embedding and lm_head.

    The layer sees concat(norm(hidden), norm(embedding)): the hidden state behind a token and the token that followed.
    The token has the code of itself or, where the drafter errs, of one step further. The hidden state has the code
    that the following token must have, so both agree, whatever is drafted. After every other token the hidden state
    is louder, after the rest the token: whichever is not the right one, drafts go wrong.
    """
    found = body.llama(table.successor, qkv_bias=True)
    projection = np.concatenate([hidden_map(table), weights.draft_map(table)], axis=1)
    return found | weights.mtp_layer(projection, body.INTERMEDIATE)


def hidden_map(table: Table) -> Array:
    """(512, 512): takes the code of a spoken token to what :func:`.weights.draft_map` makes of its successor."""
    newest, following = weights.draft_map(table), zeros(HIDDEN, HIDDEN)
    # Numbers and keys are left out: what follows a number ends the answer, and keys stand for what follows the trigger.
    for token in [*CYCLE, *range(v.WORD, v.WORD + v.WORDS), v.byte(":"), v.byte(";")]:
        loudness = _LOUDER if token % 2 else _QUIETER
        following += loudness * weights.linear_map([(token, table.successor[token])])
    return newest @ following
