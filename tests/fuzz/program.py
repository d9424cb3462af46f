"""The harness's own command line, called in this process: a thousand programs would take an hour to start."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

import pytest

from harness.program import run
from tests.fuzz import ends

REFUSED = (2, 3)
"""Exit codes of input that is wrong or selects nothing."""


@dataclass(frozen=True)
class Answer:
    """What one command said."""

    code: int
    stdout: str
    stderr: str

    def is_a_refusal(self) -> bool:
        """Whether it refused, and in one line."""
        lines = self.stderr.splitlines()
        return self.code in REFUSED and len(lines) == 1 and lines[0].startswith("harness: ") and len(lines[0]) < 2000


def harness(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Answer:
    """Run one command to its end. Where its errors become exit codes is part of what is tested."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    argv = mock.patch.object(sys, "argv", ["harness", *arguments])
    streams = redirect_stdout(out), redirect_stderr(err)
    with (
        ends(),
        argv,
        mock.patch.dict(os.environ, env or {}),
        streams[0],
        streams[1],
        pytest.raises(SystemExit) as ended,
    ):
        run()
    code = ended.value.code
    assert isinstance(code, int), code
    said = [each.buffer.getvalue().decode(errors="surrogateescape") for each in (out, err)]
    return Answer(code, *said)
