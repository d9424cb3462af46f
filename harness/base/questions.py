"""What is asked: an item of an evaluation, and what goes ahead of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Prime:
    """A request that goes ahead of an item and leaves its prompt in a cache; what comes back is not judged.

    Attributes:
        role: ``prefill`` or ``decode``: the first server of that role gets it, past the router.
        prompt: As that of an item.
    """

    role: Literal["prefill", "decode"]
    prompt: str


@dataclass(frozen=True)
class Item:
    """One thing to ask.

    Attributes:
        id: Unique in the protocol.
        prompt: Text or token ids, sent as they are; of a chat item the user's message.
        body: Further fields of the request.
        expected: The right answer as the protocol extracts it; None if the protocol scores no answers.
        expected_text: The whole text, where it is known beforehand.
        prompt_tokens: Tokens the prompt must have on the server, where known: a second BOS shows here.
        completion_tokens: Tokens that the answer must have, where its text is known.
        finish_reason: Why it must end, where that is known: ``stop`` or ``length``.
        chat: The engine's chat template has yet to make the prompt.
        template: Of a chat item, what the chat template is told.
        earlier: Of a chat item, what was said before: by the user, then by the assistant, and so on.
        special_tokens: The engine puts its special tokens around the text, as it does for its users by default: one
            BOS, where the tokenizer has one. Nothing of ours may hold one already.
        prime: What goes ahead of it, in the main run only.
    """

    id: str
    prompt: str | tuple[int, ...]
    body: Mapping[str, Any]
    expected: str | None = None
    expected_text: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    chat: bool = False
    earlier: tuple[str, ...] = ()
    template: Mapping[str, bool] = field(default_factory=dict)
    special_tokens: bool = False
    prime: Prime | None = None

    @property
    def primed_run(self) -> str:
        """Run under which the sample of its :class:`Prime` is kept."""
        return f"prime_{self.prime.role}" if self.prime else ""
