"""Labels: what says of a process or a container that it is ours, of which run it is, and who will stop that run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self


class Names(NamedTuple):
    """What the parts of a label are called where it is kept."""

    run_id: str
    folder: str
    owner: str


PROCESS = Names("INFERENCE_HARNESS_RUN", "INFERENCE_HARNESS_RUN_DIRECTORY", "INFERENCE_HARNESS_OWNER")
"""Environment variables of every process of a run."""

CONTAINER = Names("org.inference-harness.run", "org.inference-harness.run-directory", "org.inference-harness.owner")
"""Labels of every container of a run."""


class Label(NamedTuple):
    """The label of one run.

    Attributes:
        run_id: Of the run.
        folder: The run directory.
        owner: The harness that will stop the run, as ``Owner.text`` writes it.
    """

    run_id: str
    folder: str
    owner: str

    def under(self, names: Names) -> dict[str, str]:
        """What is to be kept, and under which names."""
        return dict(zip(names, self, strict=True))

    def same_run(self, other: Label) -> bool:
        """Whether both are of one run in one place. A copy of a run directory has the run id, and is another place."""
        return (self.run_id, self.folder) == (other.run_id, other.folder)

    @classmethod
    def read(cls, kept: Mapping[str, str], names: Names) -> Self | None:
        """The label in an environment or in labels; None if there is none."""
        return cls(*(kept.get(name, "") for name in names)) if names.run_id in kept else None
