"""Whether servers on the network answer: one small request each."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (requests.exceptions.ProxyError, "the proxy does not let it through"),
    (requests.exceptions.SSLError, "its certificate is not trusted (REQUESTS_CA_BUNDLE names another CA bundle)"),
    (requests.Timeout, "no answer in time"),
    (requests.ConnectionError, "no connection"),
)
"""What went wrong, the more special before the more general."""


def host(url: str) -> str:
    """Name and port of a server, without what else stands in its address: that may be a password."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "an address that cannot be read"


def problem(url: str, timeout: float, token: str = "", *, login: bool = False) -> str:
    """Why a server cannot be used; empty if it answers.

    Nothing in the answer comes from the server or from ``url``, so no secret gets into it.

    Args:
        url: What is asked for; its content is not read.
        timeout: Seconds to connect, and to answer.
        token: Sent as a bearer token; it goes nowhere else, not even after a redirection.
        login: Whether it is usual here to be asked to log in first.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with requests.get(url, timeout=timeout, stream=True, allow_redirects=False, headers=headers) as response:
            status = response.status_code
    except (requests.RequestException, ValueError) as error:
        return _words(error)
    if status in (401, 403) and not login:
        return f"it answers {status}: " + ("the token is refused" if token else "it wants a login")
    return f"it answers {status}" if status >= 404 else ""


def _words(error: Exception) -> str:
    if "NameResolution" in str(error):
        return "its name is not known"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "not an address that can be asked")
