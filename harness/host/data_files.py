"""Data files that are not in the repository: from the user's folder, from the cache, or downloaded once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from harness.base.errors import CannotJudge
from harness.datasets.pinned_files import Dataset
from harness.host import internet

DATA_FOLDER = "HARNESS_DATA_DIR"
"""Environment variable: folder that already holds the data files, for hosts without a network."""


def cache_folder(name: str) -> Path:
    """Where something is kept between runs: below the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "inference-harness" / name


def _home() -> Path:
    """The user's home folder; of a user without one, as in some containers, a folder for temporary files."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"inference-harness-{os.getuid()}"


def fetch(dataset: Dataset) -> Path:
    """A data file.

    Raises:
        CannotJudge: It is not to be had, or has another content.
    """
    given = os.environ.get(DATA_FOLDER)
    try:
        if given:
            return internet.verified(Path(given).absolute() / dataset.file, dataset.sha256)
        return internet.fetch(dataset.url, _cached(dataset), dataset.sha256)
    except internet.Refused as error:
        advice = "" if given else f"; a folder that holds it can be named by {DATA_FOLDER}"
        raise CannotJudge(f"no {dataset.file}", cause=f"{error}{advice}") from error


def texts(datasets: Iterable[Dataset]) -> dict[str, str]:
    """Text of each data file by name.

    Raises:
        CannotJudge: One is not to be had.
    """
    return {dataset.file: fetch(dataset).read_text(encoding="utf-8") for dataset in datasets}


def missing(datasets: Iterable[Dataset]) -> list[str]:
    """Names of the data files that are not at hand; asks nobody."""
    given = os.environ.get(DATA_FOLDER)
    paths = [Path(given) / each.file if given else _cached(each) for each in datasets]
    return [path.name for path in paths if not path.is_file()]


def problem(dataset: Dataset) -> str:
    """Why a data file is not at hand with the right content; empty if it is. Asks nobody."""
    given = os.environ.get(DATA_FOLDER)
    try:
        internet.verified(Path(given).absolute() / dataset.file if given else _cached(dataset), dataset.sha256)
    except internet.Refused as error:
        return str(error)
    return ""


def is_fetched(dataset: Dataset) -> bool:
    """Whether a run would download a data file: no folder is named, and there is none yet."""
    return not os.environ.get(DATA_FOLDER) and bool(missing([dataset]))


def _cached(dataset: Dataset) -> Path:
    return cache_folder("data") / dataset.file
