"""Options and helpers that all tests share."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--base-image", default=None, help="Base image for the tests that build an image; default: the Dockerfile's."
    )
