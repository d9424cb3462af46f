"""What the hub's library raises, as one line with the next step, and whose fault it is.

Its errors have no base class; those of its HTTP client, of its downloader and of parsing are their own, and it packs
one into another.
"""

from __future__ import annotations

import errno
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from harness.base.errors import Fault, of_the_system
from harness.base.texts import cause
from harness.host import internet

OFFLINE = "HF_HUB_OFFLINE is set, so nobody is asked"
_ONE_ANSWER = 5.0
_SETTINGS = "see HF_ENDPOINT and HTTPS_PROXY"
_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG, errno.ENOTDIR}
)


class Unavailable(Exception):
    """The model is not in the cache and could not be fetched; the message is one line.

    Attributes:
        is_silent: Whether the hub does not answer at all, whatever it is asked.
        is_passing: Whether the same may well succeed a moment later.
        fault: Whose it is.
    """

    def __init__(
        self, message: str, *, is_silent: bool = False, is_passing: bool = False, fault: Fault = "network"
    ) -> None:
        super().__init__(message)
        self.is_silent, self.is_passing, self.fault = is_silent, is_passing, fault

    def after(self, before: str) -> Unavailable:
        """The same with something said first."""
        message = f"{before}; {self}" if before else str(self)
        return Unavailable(message, is_silent=self.is_silent, is_passing=self.is_passing, fault=self.fault)


@contextmanager
def asking(repo: str) -> Iterator[None]:
    """Whatever comes out of the hub's library is that the model is not to be had.

    Raises:
        Unavailable: Something came out of it.
    """
    try:
        yield
    except Exception as error:
        raise _unavailable(error, repo) from error


def question() -> tuple[str, str]:
    """A small request that shows whether the hub answers this user, and the token that goes with it; empty for none."""
    token = _token()
    return f"{constants.ENDPOINT}/api/{'whoami-v2' if token else 'models?limit=1'}", token


def _token() -> str:
    try:
        return huggingface_hub.get_token() or ""
    except (OSError, UnicodeDecodeError):  # where it would be kept is no folder
        return ""


def silence() -> str:
    """Why the hub does not answer at all; empty if it does, be it that a mirror does not know what is asked here."""
    found = internet.problem(question()[0], _ONE_ANSWER)
    return "" if found.startswith("it answers") else found


def _unavailable(error: Exception, repo: str) -> Unavailable:
    chain = list(_chain(error))
    if any(isinstance(each, OfflineModeIsEnabled) for each in chain):
        return Unavailable(f"{OFFLINE}; unset it where there is a network", is_silent=True)
    for each in chain:
        if isinstance(each, HfHubHTTPError):
            return _refused(each, repo)
    for each in chain:
        system = of_the_system(each)
        # OpenSSL has numbers of its own.
        if system is not None and not isinstance(system, ssl.SSLError) and system.errno in _DISK:
            where = system.filename or constants.HF_HUB_CACHE
            return Unavailable(
                f"{where}: {system.strerror}; name another folder by HF_HOME or HF_HUB_CACHE", fault="host"
            )
    said = cause(chain[-1])
    if any(isinstance(each, json.JSONDecodeError) for each in chain):
        return Unavailable(
            f"{_endpoint()} answers with what is no JSON, as a proxy's page is; {_SETTINGS}", is_silent=True
        )
    if why := silence():
        return Unavailable(f"{_endpoint()}: {why}; {_SETTINGS} ({cause(said, 200)})", is_silent=True)
    return Unavailable(
        f"{repo}: {said} ({type(chain[-1]).__name__}); run it again, which goes on with what is there", is_passing=True
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    seen = 0
    while error is not None and seen < 10:
        yield error
        error, seen = error.__cause__, seen + 1


def _refused(error: HfHubHTTPError, repo: str) -> Unavailable:
    """An answer of the hub's that is none."""
    status = error.response.status_code if error.response is not None else 0
    has_token = bool(_token())
    page, said = f"{constants.ENDPOINT}/{repo}", cause(error, 200)
    if isinstance(error, GatedRepoError):
        token = "with the account of HF_TOKEN" if has_token else "and set HF_TOKEN to a token of that account"
        return Unavailable(f"{repo} is gated: accept its terms at {page} {token}", fault="configuration")
    if isinstance(error, RevisionNotFoundError):
        return Unavailable(f"{repo} has no such commit; {page}/commits has those there are", fault="configuration")
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        token = "that the token of HF_TOKEN may not see" if has_token else "for which HF_TOKEN must be set"
        return Unavailable(f"{_endpoint()} has no repository {repo}, or a private one {token}", fault="configuration")
    if status in (401, 403):
        token = "the token of HF_TOKEN is refused" if has_token else "set HF_TOKEN"
        return Unavailable(
            f"{_endpoint()} answers {status} for {repo}: {token}; {page} ({said})", fault="configuration"
        )
    if status == 429:
        token = "" if has_token else ", or set HF_TOKEN, which may ask more often"
        return Unavailable(f"{_endpoint()} answers 429 for {repo}: too many requests; wait{token}", is_passing=True)
    return Unavailable(
        f"{_endpoint()} answers {status or 'with an error'} for {repo}; try again later ({said})",
        is_passing=status == 0 or status >= 500,
    )


def _endpoint() -> str:
    return internet.host(constants.ENDPOINT)
