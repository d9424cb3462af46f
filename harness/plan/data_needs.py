"""Which data files a case needs: those that its protocol asks from, and those that its models are made from."""

from __future__ import annotations

from harness import protocols
from harness.cases.model import Case
from harness.datasets import pinned_files
from harness.datasets.pinned_files import Dataset
from known_answer.checkpoints import CHECKPOINTS


def datasets(case: Case) -> list[Dataset]:
    """All of them, each once, in a fixed order."""
    made = [CHECKPOINTS[model.known_answer].data_files for model in case.models() if model.known_answer]
    found = [*protocols.datasets(case.evaluation), *(each for names in made for each in pinned_files.named(names))]
    return list(dict.fromkeys(found))
