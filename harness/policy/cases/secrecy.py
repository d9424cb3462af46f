"""A case file is for everybody to read: no secret has a place in it."""

from __future__ import annotations

from typing import Any

from harness.ground import secrets


def secret_in(document: Any, key: tuple[str, ...] = (), name: str = "") -> tuple[str, ...] | None:
    """Key of the first text in a document that is a secret by its name or its shape; None if there is none."""
    if isinstance(document, dict):
        for each, value in document.items():
            if secrets.has_shape(each):
                return (*key, secrets.MASK)
            if (found := secret_in(value, (*key, each), each)) is not None:
                return found
    elif isinstance(document, list):
        for number, value in enumerate(document):
            if (found := secret_in(value, (*key, str(number)), name)) is not None:
                return found
    elif isinstance(document, str):
        named = secrets.is_name(name) and not secrets.is_harmless(document)
        return key if named or secrets.has_shape(document) else None
    return None
