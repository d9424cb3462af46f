"""What the items of a case are made of, and what is on record of them before any is asked."""

from __future__ import annotations

from pathlib import Path

from harness.host.data_files import fetch
from harness.protocols import datasets
from harness.run import measured_on, reference_runs
from harness.run.context import Context


def have(context: Context, reference: Path | None) -> dict[str, str]:
    """The data files, and on record what will be asked of them and what the answers are compared with.

    Args:
        context: Of the case.
        reference: A stored run of the point, or a folder of such; None: the run is compared with none.

    Raises:
        UsageError: That cannot be compared.
    """
    data = {dataset.file: str(fetch(dataset)) for dataset in datasets(context.case.evaluation)}
    prepared = context.prepared.model_copy(update={"data": data})
    context.rundir.save(prepared.model_copy(update={"prompts": measured_on.prompts(prepared)}))
    if reference is not None:
        context.progress.note(f"compared with {reference_runs.keep(reference, context.rundir)}")
    return data
