"""Folders of the user's as models: what is in them, and whether it is still the same when all was asked."""

from __future__ import annotations

from pathlib import Path

from harness.host import content_digest
from harness.run.context import Context
from harness.run.rundir import Document, Prepared

NAME = "models"


class ModelFolders(Document):
    """``models.json``: SHA-256 of every file of the user's folders that are models, by folder and path in it."""

    before: dict[str, dict[str, str]]
    changed: list[str] | None = None
    """What was not the same when all was asked, one line a folder; None if nobody looked yet."""


def before(context: Context) -> None:
    """Write ``models.json`` with every file of every such folder, if there is one."""
    if folders := _folders(context.prepared):
        found = {str(folder): content_digest.of_files(folder) for folder in folders}
        context.rundir.write(NAME, ModelFolders, ModelFolders(before=found))


def after(context: Context) -> None:
    """Look again, and write down what is not what it was. Once something changed, it stays so."""
    document = context.rundir.read(NAME, ModelFolders)
    if document is not None:
        changed = [line for folder, files in document.before.items() for line in _changes(Path(folder), files)]
        changed = list(dict.fromkeys([*(document.changed or []), *changed]))
        context.rundir.write(NAME, ModelFolders, document.model_copy(update={"changed": changed}))


def gaps(prepared: Prepared, document: ModelFolders | None) -> list[str]:
    """What keeps a run on such folders from being judged, one line each."""
    folders = {str(folder) for folder in _folders(prepared)}
    if not folders:
        return []
    if document is None or document.before.keys() != folders:
        return [f"{NAME}.json: does not say what was in the folders of the models"]
    if document.changed is None:
        return [f"{NAME}.json: changed: missing: nobody looked whether the folders of the models are what they were"]
    return document.changed


def _folders(prepared: Prepared) -> list[Path]:
    return [Path(made.path) for made in prepared.checkpoints.values() if made.is_own]


def _changes(folder: Path, files: dict[str, str]) -> list[str]:
    try:
        now = content_digest.of_files(folder)
    except OSError as error:
        return [f"{folder} could not be read any more while the run used it: {error.strerror}"]
    names = sorted(name for name in files.keys() | now.keys() if files.get(name) != now.get(name))
    if not names:
        return []
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"{folder} changed while the run used it: {names[0]}{more}"]
