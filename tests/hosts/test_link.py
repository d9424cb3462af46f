"""A way between two hosts that is cut, and one that never was."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY
from tests.hosts.conftest import Pair

# A port on which nobody listens: to be refused is an answer.
_WATCH = """
import sys, time
from harness.host.link import Link
link = Link(sys.argv[1], 9)
print(link.look(), flush=True)
sys.stdin.readline()
began = time.monotonic()
while not link.look():
    assert time.monotonic() - began < float(sys.argv[2]), "not seen"
    time.sleep(0.2)
print(link.lost, flush=True)
"""


def _watching(pair: Pair, seconds: float) -> subprocess.Popen[str]:
    near, far = pair
    return subprocess.Popen(
        near.command(sys.executable, "-c", _WATCH, far.address, str(seconds)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


@pytest.mark.parametrize("end", [0, 1], ids=["here", "there"])
def test_a_cut_is_seen_and_both_ends_are_named(pair: Pair, end: int) -> None:
    with _watching(pair, 6) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline() == "False\n"
        pair[end].cut()
        try:
            said, wrong = watching.communicate("\n", timeout=30)
        finally:
            pair[end].mend()
    assert f"from {pair[0].address} to {pair[1].address}, port 9" in said, wrong


def test_what_never_answered_is_not_lost(pair: Pair) -> None:
    pair[1].cut()
    try:
        with _watching(pair, 4) as watching:
            said, wrong = watching.communicate("\n", timeout=30)
    finally:
        pair[1].mend()
    assert said == "False\n"
    assert "not seen" in wrong
