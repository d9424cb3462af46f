"""The part of the command line that gets the data sets that cases ask from."""

from __future__ import annotations

import sys

import typer

from harness.base.errors import EXIT_PASSED, CannotJudge
from harness.base.texts import one_line, say


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("data")(data)


def data() -> int:
    """Get all evaluation data that is not at hand, verified by SHA-256, and say where each file is.

    From the folder that HARNESS_DATA_DIR names, else from the cache, else from the address where its project
    publishes it. A run gets what it needs by itself: this is for machines that will have no network then.
    """
    from harness.datasets.pinned_files import DATASETS
    from harness.host import data_files

    refused = 0
    for dataset in DATASETS:
        try:
            say(f"{dataset.sha256}  {data_files.fetch(dataset)}")
        except CannotJudge as error:
            refused += 1
            say(one_line(str(error)), file=sys.stderr)
    if refused:
        raise CannotJudge(f"{refused} of {len(DATASETS)} data files are not to be had")
    return EXIT_PASSED
