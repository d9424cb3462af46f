"""Public data sets that protocols ask from, pinned by content."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """One file of a data set.

    Attributes:
        file: Its name in the data folder.
        url: Where its project publishes it.
        sha256: Of the file: another content is refused, wherever it came from.
        licence: Of the data.
    """

    file: str
    url: str
    sha256: str
    licence: str


MT_BENCH = Dataset(
    file="mt-bench-question.jsonl",
    url="https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge/data/mt_bench/question.jsonl",
    sha256="119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    licence="Apache-2.0",
)
