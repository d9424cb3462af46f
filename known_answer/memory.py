"""A Llama that knows questions by heart.

At the trigger, the retrieval layer attends to everything alike: what it copies is the mean code of the context, a bag
of tokens. The layer's MLP is the memory: a neuron a question, whose gate is positive on the bag of that question and
negative on all others, and which writes the code of the key that stands for the answer.

The gates come from a perceptron on whitened bags. So that the weights are the same bits on every machine, matrices
are multiplied only where every partial sum is a whole number below 2^53 and thus exact in any order
(:func:`_exact`); all other arithmetic is element by element, which IEEE 754 rounds in one way only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from known_answer import vocabulary as v
from known_answer import weights
from known_answer.known_questions import Question
from known_answer.table import NUMBERS

Matrix = npt.NDArray[np.float64]

BAG = 4.0
"""Weight of the bag in the residual stream, where the trigger's own code has weight 1."""

_GATE = 8.0  # of a question on its own bag; at most minus this on the others
_WRITTEN = 2.0
_NOISE = BAG * 3e-4  # what bf16 does to a bag, as a standard deviation
_BAG_GRID, _WHITE_GRID, _PLANE_GRID, _GATE_GRID = 2.0**16, 2.0**10, 2.0**22, 2.0**12
_ROUNDS, _RATE = 400, 0.3
_RIVAL = 0.5  # how near a rival may come, where the question itself is at 1


def intermediate(questions: int) -> int:
    """Width of the MLPs: a neuron a question, in whole blocks of 64."""
    return -(-questions // 64) * 64


def llama(questions: Sequence[Question]) -> weights.Tensors:
    """A Llama of the usual shape but for its MLPs, which answers ``questions`` and follows the table otherwise."""
    width = intermediate(len(questions))
    tensors = weights.llama(NUMBERS.successor, blind="query", intermediate=width)
    layer = f"model.layers.{weights.RETRIEVAL_LAYER}."
    gate, up, down = (weights.zeros(width, weights.HIDDEN) for _ in range(3))
    gate[: len(questions)] = gates(bags([question.prompt for question in questions]))
    up[: len(questions)] = weights.CODE[v.TRIGGER] / weights.HIDDEN  # positive on the trigger, 0 on all others
    down[: len(questions)] = _WRITTEN * weights.CODE[[v.KEY + question.said for question in questions]]
    tensors[layer + "self_attn.o_proj.weight"] = BAG * np.eye(weights.HIDDEN, dtype=np.float32)
    tensors[layer + "mlp.gate_proj.weight"] = gate
    tensors[layer + "mlp.up_proj.weight"] = up
    tensors[layer + "mlp.down_proj.weight"] = np.ascontiguousarray(down.T)
    return tensors


def bags(prompts: Sequence[str]) -> Matrix:
    """Shares of each token in the context at the trigger, (prompts, 512): the prompt, the filler and the trigger."""
    filler = [*range(v.WORD, v.WORD + v.WORDS), v.TRIGGER]
    counts = [np.bincount(v.encode(prompt) + filler, minlength=v.SIZE) for prompt in prompts]
    return np.stack([count / count.sum() for count in counts])


def gates(bag: Matrix) -> weights.Array:
    """Gate weights, (n, 512): row i, applied to what the norm makes of a bag, is positive for bag i alone."""
    # The norm makes decisions independent of scale, so bags are measured in units of the trigger's own coefficient.
    own = 1 + BAG * bag[:, v.TRIGGER]
    used = [token for token in np.flatnonzero(bag.any(axis=0)) if token != v.TRIGGER]
    points = np.rint(_BAG_GRID * BAG * bag[:, used] / own[:, None])
    middle = np.rint(points.sum(axis=0) / len(points))
    centred = points - middle
    factor = _cholesky(_exact(centred.T, centred) / len(points) + (_BAG_GRID * _NOISE) ** 2 * np.eye(len(used)))
    white = np.rint(_WHITE_GRID * _forward(factor, centred))
    planes = np.stack([_plane(white, index) for index in range(len(white))])

    normals = _backward(factor, planes)
    heights, rivals = _heights(_exact(planes, white.T))
    # What the norm divides by, in the same units: the root of the mean square, for orthogonal codes.
    squares = _exact(points**2, np.ones((len(used), 1)))[:, 0] / _BAG_GRID**2
    spread = math.fsum(np.sqrt(1 + squares)) / len(points)
    half = (heights - rivals) / (2 * _WHITE_GRID * _BAG_GRID)
    normals = np.rint(_GATE_GRID * normals * (_GATE * spread / half)[:, None])
    heights, rivals = _heights(_exact(normals, centred.T))
    threshold = ((heights + rivals) / 2 + _exact(normals, middle[:, None])[:, 0]) / _BAG_GRID

    coefficients = np.zeros(bag.shape)
    coefficients[:, used] = normals
    coefficients[:, v.TRIGGER] = -np.rint(threshold)
    return (_exact(coefficients, weights.CODE.astype(np.float64)) / (_GATE_GRID * weights.HIDDEN)).astype(np.float32)


def _plane(white: Matrix, index: int) -> Matrix:
    """A direction along which point ``index`` is ahead of all others, by the perceptron's rule."""
    point, unit = white[index], _PLANE_GRID * _WHITE_GRID
    plane: Matrix = np.rint(unit / _dot(point, point) * point)
    for _ in range(_ROUNDS):
        ahead = _exact(white, plane[:, None])[:, 0]
        itself, ahead[index] = ahead[index], -np.inf
        rival = int(ahead.argmax())
        if ahead[rival] < _RIVAL * itself:
            return plane
        away = point - white[rival]
        if not away.any():
            break
        plane = np.rint(plane + _RATE * ahead[rival] / itself * unit / _dot(away, away) * away)
        plane = np.rint(unit / _dot(plane, point) * plane)  # the point itself is at 1 again
    raise ValueError(f"question {index} cannot be told from question {rival} by its tokens")


def _heights(along: Matrix) -> tuple[Matrix, Matrix]:
    """How far along its own direction each point is, and how far the farthest other; from (direction, point)."""
    others = along.copy()
    np.fill_diagonal(others, -np.inf)
    return np.diag(along).copy(), others.max(axis=1)


def _exact(left: Matrix, right: Matrix) -> Matrix:
    """``left @ right`` for whole numbers, exact in any order of summation."""
    if float(np.abs(left).sum(axis=1).max()) * float(np.abs(right).max()) >= 2.0**53:
        raise OverflowError("a sum may be rounded: the grid is too fine")
    return left @ right


def _dot(left: Matrix, right: Matrix) -> float:
    return float(_exact(left[None], right[:, None])[0, 0])


def _cholesky(matrix: Matrix) -> Matrix:
    """Lower triangular L with L L^T = ``matrix``."""
    rest, factor = matrix.copy(), np.zeros_like(matrix)
    for k in range(len(rest)):
        factor[k:, k] = rest[k:, k] / np.sqrt(rest[k, k])
        rest[k:, k:] -= factor[k:, k, None] * factor[None, k:, k]
    return factor


def _forward(factor: Matrix, rows: Matrix) -> Matrix:
    """For each row r the x with L x = r."""
    rest = rows.copy()
    for k in range(len(factor)):
        rest[:, k] /= factor[k, k]
        rest[:, k + 1 :] -= rest[:, k, None] * factor[None, k + 1 :, k]
    return rest


def _backward(factor: Matrix, rows: Matrix) -> Matrix:
    """For each row r the x with L^T x = r."""
    rest = rows.copy()
    for k in reversed(range(len(factor))):
        rest[:, k] /= factor[k, k]
        rest[:, :k] -= rest[:, k, None] * factor[None, k, :k]
    return rest
