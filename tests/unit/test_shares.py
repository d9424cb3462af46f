"""Shares of a device's memory: never more than there is, never beside who has it whole, and nobody is overtaken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.base.domain import Device, Tenant, Usage
from harness.devices import accelerators, device_shares, leases, lock_files, tickets
from harness.devices.device_shares import Share
from harness.devices.leases import Refused
from harness.devices.lock_files import Party
from harness.host import ownership
from harness.run import device_list, occupancy
from tests.helpers import FakeClock

GIB = 1 << 30
DEVICES = [Device(str(number), f"GPU-{number}", memory_bytes=(13 + 7 * number) * GIB) for number in range(2)]
"""Room for two shares of 6 GiB on the first, for three on the second."""


_HELD = ExitStack()
"""What a test has not given back itself."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "leases"
    path.mkdir()
    monkeypatch.setenv(leases.FOLDER, str(path))
    yield path
    _HELD.close()


class Seen:
    """What was asked of who uses devices without a lease."""

    def __init__(self, answer: str = "") -> None:
        self.answer, self.asked = answer, list[tuple[str, tuple[str, ...], int]]()

    def __call__(self, device: Device, last: Sequence[str], beside: Sequence[Share]) -> str:
        self.asked.append((device.name, tuple(last), len(beside)))
        return self.answer if last else ""


def take(
    count: int,
    share_gib: int,
    name: str = "one",
    devices: Sequence[Device] = DEVICES,
    foreign: leases.Foreign = lambda *_: "",
) -> tuple[list[str], ExitStack]:
    found, held = leases.acquire(
        devices,
        count,
        name,
        Path("/runs") / name,
        foreign=foreign,
        wait=0.0,
        on_tick=lambda _: None,
        clock=FakeClock(),
        share=share_gib * GIB,
    )
    _HELD.callback(held.close)
    return [each.name for each in found], held


def test_servers_of_one_case_are_on_different_devices_where_there_is_room() -> None:
    assert take(2, 6)[0] == ["0", "1"]
    assert take(2, 6, "two")[0] == ["0", "1"]
    assert take(1, 6, "three")[0] == ["1"]
    with pytest.raises(Refused, match="6 of 12 GiB wanted, shared by one in /runs/one "):
        take(1, 6, "four")


def test_those_that_share_leave_whole_devices_to_others() -> None:
    found, held = take(1, 6, devices=DEVICES[1:])
    assert found == ["1"]
    assert take(1, 6, "two")[0] == ["1"]
    assert take(1, 0, "whole")[0] == ["0"]
    held.close()
    with pytest.raises(Refused, match=r"1: shared by two in /runs/two \(pid .*\), 6 GiB"):
        take(1, 0, "another")


def test_all_or_none_and_nothing_is_said_of_what_was_not_had(folder: Path) -> None:
    """Who looked in vain is no former holder, whose servers others would look for."""
    with pytest.raises(Refused):
        take(6, 6)
    with take(1, 0, devices=DEVICES[:1])[1], pytest.raises(Refused):
        take(2, 0, "two")
    seen = Seen()
    take(1, 0, "three", devices=DEVICES[1:], foreign=seen)
    assert seen.asked == [("1", (), 0)]


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "give"]), st.integers(1, 3), st.sampled_from([0, 3, 6, 9])), max_size=25
)


@given(STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_there_is_never_more_given_than_there_is(folder: Path, steps: list[Step]) -> None:
    there = list[tuple[list[str], int, ExitStack]]()
    try:
        for what, number, gib in steps:
            if what == "give" and there:
                there.pop(number % len(there))[2].close()
            elif what == "take":
                whole = {name for names, amount, _ in there if not amount for name in names}
                used = {each.name: sum(a for names, a, _ in there for n in names if n == each.name) for each in DEVICES}
                room = {each.name: device_shares.capacity(each) // GIB - used[each.name] for each in DEVICES}
                possible = sum(room[name] // gib if gib else not used[name] for name in room if name not in whole)
                try:
                    names, held = take(number, gib)
                except Refused:
                    assert possible < number
                    continue
                there.append((names, gib, held))
                assert possible >= number
                assert len(names) == number
                assert whole.isdisjoint(names)
                assert all(names.count(name) * gib <= room[name] for name in names)
    finally:
        for *_, held in there:
            held.close()


def test_who_waits_for_a_whole_device_is_not_overtaken_by_those_that_share_it(folder: Path) -> None:
    """There is room for another share, and it is kept all the same."""
    with (
        take(1, 6, devices=DEVICES[:1])[1],
        tickets.taken(folder, DEVICES[:1], 1, Party.me("whole", Path("/runs/whole"))),
        pytest.raises(Refused, match=r"0: kept for whole in /runs/whole .*, which waits for 1$"),
    ):
        take(1, 6, "two", devices=DEVICES[:1])


def test_who_waits_for_shares_says_so(folder: Path) -> None:
    with tickets.taken(folder, DEVICES, 2, Party.me("pair", Path("/runs/pair")), 6 * GIB):
        (ticket,) = tickets.waiting(folder)
        assert str(ticket).endswith(", which waits for 2 x 6 GiB")
        with pytest.raises(Refused, match="0, 1: kept for pair"):
            take(1, 0)


def test_what_somebody_who_was_killed_may_have_left_is_asked_about_until_it_is_gone(folder: Path) -> None:
    """As a killed process leaves it: the lock is gone, and what it said is there."""
    held = take(1, 6, devices=DEVICES[:1])[1]
    (path,) = folder.glob("*share*")
    left = path.read_text()
    held.close()
    path.write_text(left)
    seen = Seen("its servers are there")
    for share in (0, 6):
        with pytest.raises(Refused, match="its servers are there"):
            take(1, share, "two", devices=DEVICES[:1], foreign=seen)
    assert set(seen.asked) == {("0", ("/runs/one",), 0)}
    seen.answer = ""
    take(1, 6, "two", devices=DEVICES[:1], foreign=seen)[1].close()
    assert json.loads(path.read_text())["holder"] == "two"


@pytest.mark.parametrize("said", [b"", b"[]", b'{"memory_bytes": "6"}', b"\xff"])
def test_a_share_that_nobody_can_read_takes_all_of_it(folder: Path, said: bytes) -> None:
    with take(1, 6, devices=DEVICES[:1])[1]:
        (path,) = folder.glob("*share*")
        path.write_bytes(said)
        with pytest.raises(Refused, match="shared by somebody who does not say"):
            take(1, 6, "two", devices=DEVICES[:1])


SHARE = Share(Party("mtp/small", "/runs/small", 1, "ci", "2026-11-28T05:40:16+00:00"), 6 * GIB)


@pytest.mark.parametrize(
    ("usage", "user"),
    [
        (Usage(4 * GIB, (Tenant(77, 3 * GIB),)), ""),
        (Usage(4 * GIB, (Tenant(0, 3 * GIB),)), ""),
        (Usage(7 * GIB, None), ""),
        (Usage(8 * GIB, ()), "8192 MiB in use more than the 6144 MiB of those who share it"),
        (Usage(4 * GIB, (Tenant(77, GIB), Tenant(os.getpid(), GIB))), "in use by "),
    ],
    ids=["its process", "a process that cannot be seen", "no list", "more than it may use", "a stranger's process"],
)
def test_what_those_who_share_a_device_use_is_not_a_strangers(
    monkeypatch: pytest.MonkeyPatch, usage: Usage, user: str
) -> None:
    monkeypatch.setattr(accelerators, "usage", lambda *_: usage)
    monkeypatch.setattr(ownership, "run_of", lambda pid: "/runs/small" if pid == 77 else "")
    found = occupancy.foreign("cuda", DEVICES[0], [SHARE])
    assert found.user.startswith(user)
    assert bool(found.user) == bool(user)
    assert not found.unknown
    assert occupancy.foreign("cuda", DEVICES[0]).user != ""


def test_shares_are_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "usage", lambda *_: Usage(GIB, ()))
    monkeypatch.setattr(accelerators, "look", lambda _: accelerators.Seen(tuple(DEVICES)))
    with take(2, 6, devices=DEVICES[:1])[1]:
        found = device_list.look(["cuda"])
        said, other, _ = device_list.lines(found)
        document = json.loads(device_list.document(found))
    one = f"one in /runs/one (pid {os.getpid()}, "
    assert said.startswith(f"cuda 0 (13 GiB): shared, 12 of 12 GiB: {one}")
    assert said.count(", 6 GiB") == 2
    assert other == "cuda 1 (20 GiB): free"
    assert [each["memory_bytes"] for each in document["devices"][0]["shares"]] == [6 * GIB, 6 * GIB]
    assert lock_files.folder() == folder
