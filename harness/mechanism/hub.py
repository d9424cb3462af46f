"""Models from the hub, at a pinned commit: from its cache if they are there, else fetched once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from harness.ground.secrets import mask


class Unavailable(Exception):
    """The model is not in the cache and could not be fetched; the message is one line."""


def head(repo: str) -> str:
    """The commit that a repository's default branch is at now.

    Raises:
        Unavailable: The hub does not say.
    """
    try:
        found = huggingface_hub.HfApi().model_info(repo).sha
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        raise Unavailable(_one_line(error)) from error
    if not found:
        raise Unavailable(f"the hub names no commit of {repo}")
    return found


def snapshot(repo: str, revision: str) -> Path:
    """Folder of a repository's files at a commit.

    Cache, endpoint and token are the hub's own settings: ``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN`` or a file that
    ``HF_TOKEN_PATH`` names, ``HF_HUB_OFFLINE``. The token goes no further than this process.

    Args:
        repo: ``organisation/name``.
        revision: Commit.

    Raises:
        Unavailable: Neither in the cache nor to be had.
    """
    if there := cached(repo, revision):
        return there
    try:
        return Path(huggingface_hub.snapshot_download(repo, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise Unavailable(_one_line(error)) from error


def cached(repo: str, revision: str) -> Path | None:
    """Folder of a repository's files at a commit in the hub's cache; None if it is not there. Asks nobody."""
    try:
        return Path(huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def cache_folder() -> Path:
    """Where the hub's cache is."""
    return Path(constants.HF_HUB_CACHE)


def question() -> tuple[str, str]:
    """A small request that shows whether the hub answers this user, and the token that goes with it; empty for none."""
    endpoint, token = constants.ENDPOINT, ""
    with suppress(OSError, UnicodeDecodeError):  # where it would be kept is no folder
        token = huggingface_hub.get_token() or ""
    return f"{endpoint}/api/{'whoami-v2' if token else 'models?limit=1'}", token


def is_offline() -> bool:
    """Whether the user told the hub's library to ask nobody."""
    return bool(constants.HF_HUB_OFFLINE)


def _one_line(error: Exception) -> str:
    return mask(" ".join(str(error).split()))[:400] or type(error).__name__
