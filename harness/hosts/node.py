"""A node of a cluster, and the error that it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.base.errors import CannotJudge


@dataclass(frozen=True)
class Node:
    """A node that lives.

    Attributes:
        id: As the cluster numbers it.
        address: That the others know it by.
        resources: What the cluster was told that there is: ``CPU``, ``GPU``, ``memory`` in bytes, and what its owner
            named.
    """

    id: str
    address: str
    resources: Mapping[str, float]


class NodeLost(CannotJudge):
    """A node, or the agent on it, is gone."""

    def __init__(self, node: Node, cause: str) -> None:
        super().__init__(f"node lost: {node.address}", cause=cause, fault="host")
