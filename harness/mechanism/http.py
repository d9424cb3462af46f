"""Control calls to servers on this machine: small, synchronous, each with a deadline."""

from __future__ import annotations

import socket
from typing import Any

import requests

from harness.ground.domain import Probe

# The environment may name a proxy; servers on 127.0.0.1 are never behind it.
_session = requests.Session()
_session.trust_env = False


def ask(probe: Probe, timeout: float) -> str:
    """Ask one readiness question. Returns what is wrong, empty if nothing is."""
    return _zmtp(probe, timeout) if probe.kind == "zmtp" else _get(probe, timeout)


def _get(probe: Probe, timeout: float) -> str:
    try:
        response = _session.get(f"http://127.0.0.1:{probe.port}{probe.path}", timeout=timeout)
    except requests.ConnectionError:
        return f"{probe.what} is not up"
    except requests.RequestException as error:
        return f"{probe.what}: {type(error).__name__}"
    return "" if response.status_code == 200 else f"{probe.what} answers {response.status_code}"


def _zmtp(probe: Probe, timeout: float) -> str:
    """A ZeroMQ peer sends its greeting, which begins with 0xFF, as soon as it accepts (ZMTP 3.1, section 3.1)."""
    try:
        with socket.create_connection(("127.0.0.1", probe.port), timeout) as connection:
            connection.settimeout(timeout)
            greeting = connection.recv(1)
    except OSError:
        return f"{probe.what} is not up"
    return "" if greeting == b"\xff" else f"{probe.what} does not speak ZeroMQ"


def text(url: str, timeout: float) -> str:
    """Body of a GET that must answer 200.

    Raises:
        requests.RequestException: It did not.
    """
    response = _session.get(url, timeout=timeout)
    response.raise_for_status()
    return response.text


def post(url: str, body: dict[str, Any], timeout: float) -> tuple[int, Any]:
    """Status and decoded JSON of a POST; the text where the body is no JSON.

    Raises:
        requests.RequestException: No response within ``timeout`` seconds.
    """
    response = _session.post(url, json=body, timeout=timeout)
    try:
        return response.status_code, response.json()
    except requests.JSONDecodeError:
        return response.status_code, response.text
