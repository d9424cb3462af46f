r"""What protocols have in common that ask GSM8K as chat, without examples, for an answer in ``\boxed{…}``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from harness.base.domain import Item
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST, Dataset
from harness.protocols import latex_numbers
from harness.protocols.protocol import EvaluationBase

SOLVE = "Solve the following math problem. Make sure to put the answer (and only answer) inside \\boxed{}.\n\n"
"""What goes before a question, of NeMo-Skills (Apache-2.0)."""
_LONGEST = 1000  # characters of what is no number: it is only shown


class BoxedBase(EvaluationBase):
    """Settings of such a protocol, and its questions.

    Attributes:
        SAID: What the chat template is told.
    """

    DATASETS: ClassVar[tuple[Dataset, ...]] = (GSM8K_TEST,)
    CHAT: ClassVar[bool] = True
    SAID: ClassVar[dict[str, bool]] = {}

    items: int = Field(ge=1, le=gsm8k.TEST_ROWS, description="How many test rows are asked, from the first one on.")

    @abstractmethod
    def prompt(self, question: str) -> str:
        """The message of one question."""

    def questions(self, data: Mapping[str, str]) -> list[Item]:
        """One item a test row, from the first one on."""
        return [
            Item(
                id=f"G{index:04d}",
                prompt=self.prompt(row["question"]),
                body={"max_tokens": self.max_tokens},
                expected=row["answer"].rpartition("####")[2].strip().replace(",", ""),
                chat=True,
                template=self.SAID,
            )
            for index, row in enumerate(gsm8k.rows(data[GSM8K_TEST.file])[: self.items])
        ]


def as_written(content: str) -> str | None:
    """The number in a box; what is no number there is wrong, as it stands."""
    value = latex_numbers.number(content) if content else None
    return content[:_LONGEST] or None if value is None else str(value)
