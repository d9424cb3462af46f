"""What SGLang accepts when it drafts a tree: the most probable of several branches are verified in one step.

Read in SGLang 0.5.17 (``spec_utils.select_top_k_tokens``, ``eagle_utils.organize_draft_results``): each step of the
drafter gives the best ``width`` tokens after every node of the frontier, the best ``width`` of all these are the next
frontier, and of everything drafted the best ``nodes`` are verified. A node is as good as the product of the
probabilities along its path. From the root on, the child that the target would say is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from known_answer.simulate import Counts, Request, simulate
from known_answer.table import Table

Candidates = Callable[[int, int | None], Sequence[tuple[int, float]]]
"""(token, key in the context) -> what the drafter proposes after it, with probabilities; all else has none."""


@dataclass(frozen=True)
class Tree:
    """How drafts are made.

    Attributes:
        steps: Of the drafter, and so the most tokens that can be accepted.
        width: Branches of a node (``topk``).
        nodes: Tokens that are verified, the newest one not counted.
    """

    steps: int
    width: int
    nodes: int


def accepted(newest: int, key: int | None, tree: Tree, table: Table, candidates: Candidates, *, favoured: bool) -> int:
    """Drafts that are right, where ``newest`` is the last token said.

    Args:
        newest: The token.
        key: In the context.
        tree: How drafts are made.
        table: Whose answers.
        candidates: Whose drafts.
        favoured: Of equally good nodes those that are right come first; else last.
    """
    truth: tuple[int, ...] = ()
    while len(truth) < tree.steps:
        truth = (*truth, table.following(truth[-1] if truth else newest, key))

    def goodness(node: tuple[float, tuple[int, ...]]) -> tuple[float, bool]:
        score, path = node
        # The factors of a product may stand in any order: as floats they would not be equal to the last bit.
        return round(score, 6), (path == truth[: len(path)]) == favoured

    frontier: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    drafted: list[tuple[float, tuple[int, ...]]] = []
    for _ in range(tree.steps):
        children = [
            (score + math.log(share), (*path, token))
            for score, path in frontier
            for token, share in candidates(path[-1] if path else newest, key)[: tree.width]
        ]
        drafted += children
        frontier = sorted(children, key=goodness, reverse=True)[: tree.width]
    verified = {path for _, path in sorted(drafted, key=goodness, reverse=True)[: tree.nodes]}
    return next((depth for depth in range(tree.steps) if truth[: depth + 1] not in verified), tree.steps)


def total(requests: Iterable[Request], tree: Tree, table: Table, candidates: Candidates) -> Counts | None:
    """Counters after all ``requests``; the last verification of each counts in full, as :mod:`.simulate` has it.

    None if it depends on which of equally good nodes are verified.
    """
    asked = list(requests)
    best, worst = (_total(asked, tree, table, candidates, favoured=favoured) for favoured in (True, False))
    return best if best == worst else None


def _total(asked: Iterable[Request], tree: Tree, table: Table, candidates: Candidates, *, favoured: bool) -> Counts:
    counts = Counts(0, (0,) * tree.steps)
    for request in asked:
        answer = simulate(request, 0, table=table)[0]
        emitted = 1
        while emitted < len(answer):
            right = accepted(answer[emitted - 1], request.key, tree, table, candidates, favoured=favoured)
            counts += Counts(1, tuple(int(position < right) for position in range(tree.steps)))
            emitted += right + 1
    return counts
