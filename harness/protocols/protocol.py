"""What every protocol is: the settings of ``[evaluation]`` that all have, and what a protocol says about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from harness.base.domain import Item
from harness.base.exchange import Exchange
from harness.base.settings import Strict
from harness.datasets.pinned_files import Dataset
from known_answer.simulate import Request
from known_answer.table import Table

Destination = Literal["entry", "prefill", "decode"]
"""``entry``: where users send requests: the router, or the only server."""

Endpoint = Literal["completions", "chat"]


class EvaluationBase(Strict, ABC):
    """``[evaluation]``: keys of every protocol, and what a protocol does.

    Attributes:
        DATASETS: The data files that it asks from.
        GUESSED: Share of right answers that guessing scores: 0 where the question is open.
        CHAT: Whether its items are messages, of which a chat template makes the prompt.
        TEMPLATE: Whether it tells the chat template something that OpenAI's own API has no word for.
        ANSWERS: Table of the known-answer checkpoints whose texts it knows beforehand; None for other protocols.
    """

    DATASETS: ClassVar[tuple[Dataset, ...]] = ()
    GUESSED: ClassVar[float] = 0.0
    CHAT: ClassVar[bool] = False
    TEMPLATE: ClassVar[bool] = False
    ANSWERS: ClassVar[Table | None] = None

    items: int = Field(ge=1, le=100_000, description="How many items are asked; a baseline's n must agree.")
    max_tokens: int = Field(ge=1, le=2**20, description="Limit on the tokens of one answer.")
    concurrency: int = Field(ge=1, le=10_000, description="Requests in flight at once.")
    send_to: Destination = Field(description="Where requests go: the entry point, or past it straight to one role.")
    endpoint: Endpoint = Field(
        "completions",
        description="completions: `/v1/completions`, with the prompt that the engine's `/tokenize` makes of a chat. "
        "chat: `/v1/chat/completions`, where the server makes the same prompt itself and keeps reasoning apart; only "
        "of a protocol that asks as chat.",
    )

    looks: list[Annotated[int, Field(ge=1)]] = Field(
        [],
        description="Numbers of items after which is looked whether the verdict is clear, so that no more are asked; "
        "`items` is the last look, and all that may be asked. Empty: everything is asked.",
    )

    if TYPE_CHECKING:
        protocol: str
        """Its id: each protocol declares the one it has."""

    @property
    def as_chat(self) -> bool:
        """Whether these settings ask as chat."""
        return self.CHAT

    @model_validator(mode="after")
    def _has_messages(self) -> Self:
        if self.endpoint == "chat" and not self.as_chat:
            raise ValueError(f"endpoint: {self.protocol} asks plain text; it goes to completions")
        return self

    @model_validator(mode="after")
    def _looks_on_the_way(self) -> Self:
        if self.looks != sorted(set(self.looks)) or self.looks[-1:] >= [self.items]:
            raise ValueError(f"looks: must be numbers of items that rise and end below items, which is {self.items}")
        return self

    @abstractmethod
    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """Everything that is asked, in order.

        Args:
            data: Text of each of ``DATASETS`` by file name.
        """

    @abstractmethod
    def answer(self, text: str) -> str | None:
        """The answer that the protocol reads from a response, None if there is none."""

    def requests(self, data: Mapping[str, str]) -> list[Request]:  # noqa: ARG002 # for those that ask from data
        """The items as the simulator of the known-answer checkpoints takes them; empty for other protocols."""
        return []

    def exchanges(self) -> list[Exchange]:
        """What is exchanged besides, in order, once the main run is over."""
        return []

    def counted(self) -> dict[str, tuple[str, int]]:
        """Numbers that checks of these settings must have, by the check: the key of its table, and the number."""
        return {}


class PrefixCacheBase(EvaluationBase):
    """Settings of a protocol that fills the decode side's prefix cache ahead of its items, so the order counts."""

    block_size: int = Field(
        ge=16, le=65536, description="Tokens of a KV block: that of the engine, which prompts are made for."
    )

    @model_validator(mode="after")
    def _one_at_a_time(self) -> Self:
        if self.concurrency != 1:
            raise ValueError("concurrency: must be 1, or one item finds what another left in the cache")
        return self


EdgeCase = Literal["short", "full", "partial"]
EDGE_CASES: tuple[EdgeCase, ...] = ("short", "full", "partial")
"""Items take turns: a prompt shorter than a block; one whose every full block the decode side has cached, and the
prefill side has not; one of which it has cached the first two blocks."""
