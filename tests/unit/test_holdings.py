"""What processes hold, seen of this one."""

from __future__ import annotations

import mmap

from harness.host import holdings
from harness.host.identity import Identity

MIB = 1 << 20


def test_a_large_allocation_is_untouched_until_it_is_written_to() -> None:
    me = [Identity.me()]
    begin = holdings.untouched_bytes(me)
    with mmap.mmap(-1, 128 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as cache:
        assert abs(holdings.untouched_bytes(me) - begin - 128 * MIB) < 8 * MIB
        held = holdings.of(me).memory_bytes
        cache[: 96 * MIB] = b"x" * (96 * MIB)
        assert abs(holdings.untouched_bytes(me) - begin - 32 * MIB) < 8 * MIB
        # What is kept in small pieces takes nothing out of it, and is memory all the same.
        kept = [b"y" * MIB for _ in range(32)]
        assert abs(holdings.untouched_bytes(me) - begin - 32 * MIB) < 8 * MIB
        assert holdings.of(me).memory_bytes - held > (96 + 32 - 8) * MIB
        assert len(kept) == 32


def test_a_process_that_has_ended_holds_nothing() -> None:
    gone = [Identity(pid=0)]
    assert (holdings.untouched_bytes(gone), holdings.of(gone)) == (0, holdings.Holdings())
