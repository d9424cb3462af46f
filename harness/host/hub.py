"""Models from the hub, at a commit: from its cache if they are there, else fetched once, and completed.

What is in the cache may be a part: of a download that was cut off, or of a copy by hand.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import CachedRepoTreeNotFoundError
from huggingface_hub.hf_api import RepoFile

from harness.host import files, internet, model_files
from harness.host.hub_errors import OFFLINE, Unavailable, asking, question, silence

__all__ = [
    "Unavailable",
    "cache_folder",
    "cached",
    "cached_head",
    "endpoint",
    "head",
    "is_offline",
    "question",
    "snapshot",
]

_COMMIT = re.compile(r"[0-9a-f]{40}")


def head(repo: str) -> str:
    """The commit that a repository's default branch is at now.

    Raises:
        Unavailable: The hub does not say.
    """
    with asking(repo):
        found = huggingface_hub.HfApi().model_info(repo).sha
    if not found or not _COMMIT.fullmatch(found):
        raise Unavailable(f"the hub names no commit of {repo}")
    return found


def cached_head(repo: str) -> str:
    """The commit of a repository that its cache speaks of; empty if it speaks of none, or of several alike.

    That is what the default branch was at when it was last fetched by that name, else the only one that is there.
    Nobody is asked.
    """
    with suppress(files.Unreadable, UnicodeDecodeError):
        found = (files.read(_storage(repo) / "refs" / constants.DEFAULT_REVISION, 100) or b"").decode().strip()
        if _COMMIT.fullmatch(found):
            return found
    there = [path.name for path in (_storage(repo) / "snapshots").glob("*") if _COMMIT.fullmatch(path.name)]
    return there[0] if len(there) == 1 else ""


def snapshot(repo: str, revision: str) -> Path:
    """Folder of a repository's files at a commit: all that an engine reads, as far as that can be told.

    Cache, endpoint and token are the hub's own settings: ``HF_HOME``, ``HF_HUB_CACHE``, ``HF_ENDPOINT``, ``HF_TOKEN``
    or a file that ``HF_TOKEN_PATH`` names, ``HF_HUB_OFFLINE``. The token goes no further than this process. The hub is
    asked for what is missing, and once for the list of files, where that is not in the cache.

    Args:
        repo: ``organisation/name``.
        revision: Commit.

    Raises:
        Unavailable: Neither in the cache nor to be had.
    """
    there = cached(repo, revision)
    if there and (_listed(repo, revision) is not None or is_offline() or silence()):
        return there
    try:
        return _fetched(repo, revision)
    except Unavailable as error:
        if there:
            return there  # nobody says that anything is missing
        folder = _folder(repo, revision)
        part = f"{folder} is not complete ({_missing(repo, revision)})" if folder.is_dir() else ""
        raise error.after(part) from error


def cached(repo: str, revision: str) -> Path | None:
    """Folder of a repository's files at a commit in the hub's cache; None if it is not there, or not all of it.

    Asks nobody. All of it is what the hub listed, less what no engine reads; where no list is kept, weights and every
    part that an index names, as long as they must be.
    """
    folder = _folder(repo, revision)
    return folder if folder.is_dir() and not _missing(repo, revision) else None


def _fetched(repo: str, revision: str) -> Path:
    with asking(repo):
        listed = _listed(repo, revision)
        if listed is None:
            tree = huggingface_hub.HfApi().list_repo_tree(repo, recursive=True, revision=revision)
            listed = {each.path: each.size for each in tree if isinstance(each, RepoFile)}
        _remove_damaged(_folder(repo, revision), listed)
        unread = [glob.escape(name) for name in model_files.unread(listed)]
        found = Path(huggingface_hub.snapshot_download(repo, revision=revision, ignore_patterns=unread))
    # Where the hub does not answer, its library returns whatever is there.
    if why := model_files.lacking(found, listed) or _missing(repo, revision):
        silent = OFFLINE if is_offline() else "the hub does not answer"
        raise Unavailable(f"{why}, and {silent}", is_silent=True)
    return found


def _remove_damaged(folder: Path, listed: Mapping[str, int]) -> None:
    """Take out of the cache what has another size than the hub says: its library takes whatever is there for whole.

    Only where the hub can give it anew.
    """
    paths = [folder / name for name, size in listed.items() if _size(folder / name) not in (None, size)]
    if not paths or is_offline() or silence():
        return
    blobs = (folder.parents[1] / "blobs").resolve()
    for path in paths:
        blob = path.resolve()
        path.unlink()
        if blob.parent == blobs:
            blob.unlink(missing_ok=True)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _listed(repo: str, revision: str) -> dict[str, int] | None:
    """Bytes of each file of a commit, as the hub listed them when it was fetched; None if no list is kept."""
    try:
        tree = huggingface_hub.get_cached_repo_tree(repo, revision=revision)
    except (CachedRepoTreeNotFoundError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {each.path: each.size for each in tree}


def _missing(repo: str, revision: str) -> str:
    """What of a model is not in a folder of the cache; empty if nothing can be seen to be missing."""
    folder, listed = _folder(repo, revision), _listed(repo, revision)
    if listed:
        return model_files.lacking(folder, listed)
    blobs = folder.parents[1] / "blobs"
    for path in blobs.glob("*.incomplete"):
        if not (blobs / path.name.partition(".")[0]).exists():
            return "a download was cut off"
    return model_files.problem(folder)


def _folder(repo: str, revision: str) -> Path:
    return _storage(repo) / "snapshots" / revision


def _storage(repo: str) -> Path:
    """Where the cache keeps a repository."""
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def cache_folder() -> Path:
    """Where the hub's cache is."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def endpoint() -> str:
    """Name of the hub that is asked, without what else stands in its address."""
    return internet.host(constants.ENDPOINT)


def is_offline() -> bool:
    """Whether the user told the hub's library to ask nobody."""
    return bool(constants.HF_HUB_OFFLINE)
