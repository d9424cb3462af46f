"""Secrets: what is never shown, wherever a text came from."""

from __future__ import annotations

import os
import re

HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Environment variables with the model hub's token, which only the process that downloads may have."""

_NAME = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|PRIVATE_KEY)$", re.IGNORECASE)
_SHAPE = re.compile(r"\bhf_[A-Za-z0-9]{16,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")  # a hub's token; a password in an address
_SHORTEST = 8
"""Anything shorter may be a word of an honest text."""


def mask(text: str) -> str:
    """``text`` with every secret replaced: known by the name of its environment variable, or by its shape."""
    values = {value for name, value in os.environ.items() if _NAME.search(name) and len(value) >= _SHORTEST}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "***")
    return _SHAPE.sub("***", text)
