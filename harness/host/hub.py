"""Models from the hub, at a pinned commit: from its cache if they are there, else fetched once.

What is in the cache may be a part: of a download that was cut off, or of a copy by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from harness.base.texts import cause
from harness.host import internet

_ONE_ANSWER = 5.0
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
_OFFLINE = "HF_HUB_OFFLINE is set, so nobody is asked"


class Unavailable(Exception):
    """The model is not in the cache and could not be fetched; the message is one line.

    Attributes:
        is_silent: Whether the hub does not answer at all, whatever it is asked.
    """

    def __init__(self, message: str, *, is_silent: bool = False) -> None:
        super().__init__(message)
        self.is_silent = is_silent


def head(repo: str) -> str:
    """The commit that a repository's default branch is at now.

    Raises:
        Unavailable: The hub does not say.
    """
    with _asking():
        found = huggingface_hub.HfApi().model_info(repo).sha
    if not found:
        raise Unavailable(f"the hub names no commit of {repo}")
    return found


def snapshot(repo: str, revision: str) -> Path:
    """Folder of a repository's files at a commit: all of them, as far as that can be told.

    Cache, endpoint and token are the hub's own settings: ``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN`` or a file that
    ``HF_TOKEN_PATH`` names, ``HF_HUB_OFFLINE``. The token goes no further than this process. The hub is asked for what
    is missing, and once for the list of files, where that is not in the cache.

    Args:
        repo: ``organisation/name``.
        revision: Commit.

    Raises:
        Unavailable: Neither in the cache nor to be had.
    """
    there = cached(repo, revision)
    if there and (_is_listed(repo, revision) or is_offline() or _silence()):
        return there
    try:
        with _asking():
            found = Path(huggingface_hub.snapshot_download(repo, revision=revision))
    except Unavailable:
        if there:
            return there  # nobody says that anything is missing
        raise
    # Where the hub does not answer, its library returns whatever is there.
    if why := _missing(found, listed=_is_listed(repo, revision)):
        silent = _OFFLINE if is_offline() else "the hub does not answer"
        raise Unavailable(f"{found} is not complete ({why}), and {silent}", is_silent=True)
    return found


def cached(repo: str, revision: str) -> Path | None:
    """Folder of a repository's files at a commit in the hub's cache; None if it is not there, or not all of it.

    Asks nobody. All of it is what the hub listed when it was fetched; where no list is kept, weights and every part
    that an index names.
    """
    try:
        found = Path(huggingface_hub.snapshot_download(repo, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None
    return None if _missing(found, listed=_is_listed(repo, revision)) else found


def _is_listed(repo: str, revision: str) -> bool:
    """Whether the cache has the list of the commit's files, by which the hub's library tells that all are there."""
    try:
        huggingface_hub.get_cached_repo_tree(repo, revision=revision)
    except CachedRepoTreeNotFoundError:
        return False
    return True


def _missing(folder: Path, *, listed: bool) -> str:
    """What of a model is not in a folder of the cache; empty if nothing can be seen to be missing."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    cut = [name for name, path in names.items() if path.is_symlink() and not path.exists()]
    if cut:
        return f"{cut[0]} points nowhere"
    if listed:
        return ""
    blobs = folder.parents[1] / "blobs"
    for path in blobs.glob("*.incomplete"):
        if not (blobs / path.name.partition(".")[0]).exists():
            return "a download was cut off"
    for name, path in names.items():
        if name.endswith(".index.json"):
            absent = [part for part in _parts(path) if not (path.parent / part).is_file()]
            if absent:
                return f"{len(absent)} of the parts in {name} are not there: {absent[0]}"
    if not any(name.endswith(_WEIGHTS) and path.stat().st_size for name, path in names.items()):
        return "no weights"
    return ""


def _parts(index: Path) -> list[str]:
    """Files that an index of weights names."""
    try:
        found = json.loads(index.read_bytes())["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["what it names cannot be read"]
    return sorted({str(name) for name in found})


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


@contextmanager
def _asking() -> Iterator[None]:
    """Whatever comes out of the hub's library is that the model is not to be had.

    Its errors have no base class, and those of its HTTP client, of its downloader and of parsing are their own.
    """
    try:
        yield
    except Exception as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> Unavailable:
    """An error of the hub's library in one line, with the next step."""
    said = cause(error)
    if isinstance(error, OfflineModeIsEnabled):
        return Unavailable(f"{_OFFLINE}; unset it where there is a network", is_silent=True)
    if isinstance(error, HfHubHTTPError):
        return Unavailable(said)
    if isinstance(error, json.JSONDecodeError):
        return Unavailable(
            f"{_endpoint()} answers with what is no JSON, as a proxy's page is; see HF_ENDPOINT and HTTPS_PROXY",
            is_silent=True,
        )
    if why := _silence():
        return Unavailable(
            f"{_endpoint()}: {why}; see HF_ENDPOINT and HTTPS_PROXY ({cause(said, 200)})", is_silent=True
        )
    return Unavailable(f"{said} ({type(error).__name__}); run it again, which goes on with what is there")


def _silence() -> str:
    """Why the hub does not answer at all; empty if it does, be it that a mirror does not know what is asked here."""
    found = internet.problem(question()[0], _ONE_ANSWER)
    return "" if found.startswith("it answers") else found


def _endpoint() -> str:
    return internet.host(constants.ENDPOINT)
