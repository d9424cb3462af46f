"""Image registries: which digest a tag stands for, over the OCI distribution API (Docker's Registry HTTP API V2).

Anonymous where the registry allows it, else with what ``docker login`` keeps for that registry.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import docker.auth
import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import parse_dict_header

from harness.base import secrets
from harness.base.texts import cause

_TIMEOUT = (10.0, 30.0)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

# An index of several architectures or a single manifest, in the words of OCI and of Docker. A registry that is not told
# that its client knows indexes answers with the manifest of one architecture, which has another digest.
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)

# Docker Hub's names in image references and in `docker login` are not the address of its registry.
_HUB = "docker.io"
_HUB_ADDRESS = "registry-1.docker.io"


class NoAnswer(Exception):
    """The registry does not say; the message is one line."""


class _Anonymous(AuthBase):
    """Nothing: requests would otherwise add what stands in ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def address(registry: str) -> str:
    """Where a registry answers: its root, which says that it is one."""
    host = _host(registry)
    return f"{'http' if _is_local(host) else 'https'}://{host}/v2/"


def _host(registry: str) -> str:
    return _HUB_ADDRESS if registry == _HUB else registry


def digest(registry: str, repository: str, reference: str) -> str | None:
    """The digest of a manifest.

    Args:
        registry: ``HOST[:PORT]`` as image references have it. One on this machine is asked over HTTP, as container
            engines do, any other over HTTPS.
        repository: Path in it.
        reference: A tag, or a digest to ask whether it is still there.

    Returns:
        ``sha256:…`` of the index or the manifest; None if the registry has none of that name.

    Raises:
        NoAnswer: It cannot be reached, refuses, or answers something else.
    """
    host = _host(registry)
    url = f"{address(registry)}{repository}/manifests/{reference}"
    with requests.Session() as session:
        session.trust_env = not _is_local(host)  # no proxy stands before this machine
        session.headers["Accept"] = ", ".join(_ACCEPT)
        try:
            return _ask(session, url, registry)
        except (requests.RequestException, docker.errors.DockerException) as error:
            raise NoAnswer(f"{host}: {_why(error)}") from error


def _ask(session: requests.Session, url: str, registry: str) -> str | None:
    auth: AuthBase = _Anonymous()
    response = session.head(url, auth=auth, timeout=_TIMEOUT, allow_redirects=True)
    if response.status_code == 401:
        auth = _authorised(session, response.headers.get("WWW-Authenticate", ""), registry)
        response = session.head(url, auth=auth, timeout=_TIMEOUT, allow_redirects=True)
    if response.status_code == 404:
        return None
    if response.status_code in {401, 403}:
        raise NoAnswer(f"{url} answers {response.status_code}: not there, or only after `docker login {registry}`")
    if response.status_code == 429:
        raise NoAnswer(f"{url} answers 429: too many requests; wait, or `docker login {registry}`")
    response.raise_for_status()
    found = response.headers.get("Docker-Content-Digest", "")
    if not found:  # the header is optional; the digest is that of the very bytes
        body = session.get(url, auth=auth, timeout=_TIMEOUT)
        body.raise_for_status()
        found = f"sha256:{hashlib.sha256(body.content).hexdigest()}"
    if not _DIGEST.fullmatch(found):
        raise NoAnswer(f"{url} answers with the digest {found[:80]!r}, which is none")
    return found


def _authorised(session: requests.Session, challenge: str, registry: str) -> AuthBase:
    """What the challenge asks for: a token of the service it names, or name and password.

    Source: the distribution project's token authentication specification.
    """
    scheme, _, parameters = challenge.partition(" ")
    login = _login(registry)
    if scheme.lower() == "basic" and login is not None:
        return login
    if scheme.lower() != "bearer":
        return _Anonymous()
    asked: dict[str, str] = parse_dict_header(parameters)  # type: ignore[no-untyped-call] # of requests
    realm = asked.pop("realm", "")
    if login is not None and not (realm.startswith("https://") or _is_local(urlsplit(realm).netloc)):
        raise NoAnswer(f"{registry} sends its clients to {realm} for a token; a password is not sent without TLS")
    query = {name: asked[name] for name in ("service", "scope") if name in asked}
    response = session.get(realm, params=query, auth=login or _Anonymous(), timeout=_TIMEOUT)
    if response.status_code in {401, 403}:
        raise NoAnswer(f"{registry} gives no token ({response.status_code}); is the `docker login` still good?")
    response.raise_for_status()
    document: Any = response.json()
    token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
    if not isinstance(token, str):
        raise NoAnswer(f"{realm} answers without a token")
    secrets.hide((token,))
    return _Bearer(token)


def _login(registry: str) -> HTTPBasicAuth | None:
    """Name and password that ``docker login`` keeps for a registry, also in a credential store."""
    found = docker.auth.load_config().resolve_authconfig(registry) or {}
    name, password = found.get("username") or found.get("Username"), found.get("password") or found.get("Password")
    if not name or not password:
        return None
    secrets.hide((password,))
    return HTTPBasicAuth(name, password)


def _is_local(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _why(error: Exception) -> str:
    """The error in one line: of what requests and urllib3 wrap around a system call's words, none says more."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if not isinstance(error, requests.ConnectionError):
        return cause(error)
    through = " through the proxy" if isinstance(error, requests.exceptions.ProxyError) else ""
    inner: BaseException = error
    while deeper := inner.__cause__ or inner.__context__:
        inner = deeper
    return f"cannot be reached{through}: {cause(inner)}"
