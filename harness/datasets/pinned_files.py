"""Public data sets that protocols ask from, pinned by content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """One file of a data set.

    Attributes:
        file: Its name in the data folder.
        url: Where its project publishes it.
        sha256: Of the file: another content is refused, wherever it came from.
        licence: Of the data.
        example: A line of our own in the file's form, for where the real ones are not at hand.
    """

    file: str
    url: str
    sha256: str
    licence: str
    example: str


MT_BENCH = Dataset(
    file="mt-bench-question.jsonl",
    url="https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge/data/mt_bench/question.jsonl",
    sha256="119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    licence="Apache-2.0",
    example='{"question_id": 0, "turns": ["Which river is the longest?"]}',
)

_GSM8K_EXAMPLE = '{"question": "Ann has 3 apples and finds 4 more. How many has she?", "answer": "3 + 4 = 7\\n#### 7"}'
_GSM8K = "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c"

GSM8K_TRAIN = Dataset(
    file="gsm8k-train.jsonl",
    url=f"{_GSM8K}/grade_school_math/data/train.jsonl",
    sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    licence="MIT",
    example=_GSM8K_EXAMPLE,
)
GSM8K_TEST = Dataset(
    file="gsm8k-test.jsonl",
    url=f"{_GSM8K}/grade_school_math/data/test.jsonl",
    sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    licence="MIT",
    example=_GSM8K_EXAMPLE,
)

DATASETS = (MT_BENCH, GSM8K_TRAIN, GSM8K_TEST)
"""All of them."""


def named(files: Iterable[str]) -> tuple[Dataset, ...]:
    """Those that have these file names."""
    by_file = {each.file: each for each in DATASETS}
    return tuple(by_file[name] for name in files)
