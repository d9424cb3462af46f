"""Which data files a case needs: those that its protocol asks from, and those that its models are made from."""

from __future__ import annotations

from harness import protocols
from harness.cases.model import Case
from harness.datasets import pinned_files
from harness.datasets.pinned_files import Dataset
from known_answer.names import DATA_FILES


def datasets(case: Case) -> list[Dataset]:
    """All of them, each once, in a fixed order."""
    made = [DATA_FILES.get(model.known_answer or "", ()) for model in case.models()]
    found = [*protocols.datasets(case.evaluation), *(each for names in made for each in pinned_files.named(names))]
    return list(dict.fromkeys(found))
