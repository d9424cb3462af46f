"""The queue for devices: a model of it, and what killed processes, strangers and other versions leave in its folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from harness.base.domain import Device
from harness.devices import leases, tickets
from harness.devices.lock_files import Party
from tests.helpers import FakeClock

WHOLE = [Device(str(number), f"GPU-{number}") for number in range(3)]
SLICES = [Device(f"MIG-{number}", f"MIG-{number}", whole="GPU-2") for number in range(2)]
EVERYTHING = [*WHOLE, *SLICES]


def party(name: str) -> Party:
    return Party.me(name, Path("/runs") / name)


def exclude(one: Device, other: Device) -> bool:
    """Whether two runs cannot have these at the same time."""
    return one.uuid in (other.uuid, other.whole) or one.whole == other.uuid


@dataclass
class Run:
    """A run that waits, or has its devices.

    Attributes:
        number: Of its arrival.
    """

    number: int
    devices: list[Device]
    count: int
    place: tickets.Place
    waits: ExitStack
    has: list[Device] = field(default_factory=list)
    held: ExitStack = field(default_factory=ExitStack)


class Queue(RuleBasedStateMachine):
    """Runs come, look, get what they want, give it back, give up, and are killed, in any order."""

    runs: Bundle[Run] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.there: list[Run] = []
        self.came = 0

    def teardown(self) -> None:
        for each in self.there:
            each.waits.close()
            each.held.close()
        assert tickets.waiting(self.folder) == []
        assert list(self.folder.glob("*.ticket*")) == []  # whoever looks tidies up
        shutil.rmtree(self.folder)

    @rule(target=runs, devices=st.lists(st.sampled_from(EVERYTHING), unique=True, min_size=1), data=st.data())
    def comes(self, devices: list[Device], data: st.DataObject) -> Run:
        count = data.draw(st.integers(1, len(devices)))
        waits = ExitStack()
        place = waits.enter_context(tickets.taken(self.folder, devices, count, party(str(self.came))))
        self.there.append(Run(self.came, devices, count, place, waits))
        self.came += 1
        return self.there[-1]

    @rule(run=runs)
    def looks(self, run: Run) -> None:
        if run not in self.there or run.has:
            return
        waiting = [each for each in self.there if each.number < run.number and not each.has]
        ahead = run.place.ahead()
        assert [each.party.holder for each in ahead] == [str(each.number) for each in waiting]
        taken = [device for each in self.there for device in each.has]
        kept = [device for each in waiting for device in each.devices]
        free = [each for each in run.devices if not any(exclude(each, other) for other in (*taken, *kept))]
        # Of devices that exclude each other a run may want both: what it has got by then is not free any more.
        expected = list[Device]()
        for each in free:
            if len(expected) < run.count and not any(exclude(each, other) for other in expected):
                expected.append(each)
        held = ExitStack()
        with ExitStack() as look, ExitStack() as undo:
            me = party(str(run.number))
            found, refused = leases._Look(self.folder, me, ahead, lambda *_: "", look, undo).for_whole(
                run.devices, run.count
            )
            assert found == expected
            assert len(found) == run.count or len(found) + len(refused) == len(run.devices)
            if len(found) == run.count:
                undo.pop_all()
                run.has, held = found, look.pop_all()
        if run.has:
            run.held = held
            run.waits.close()

    @rule(run=consumes(runs))
    def leaves(self, run: Run) -> None:
        run.waits.close()
        run.held.close()
        self.there.remove(run)

    @rule(run=consumes(runs))
    def is_killed(self, run: Run) -> None:
        path = self.folder / f"{run.place.number:09}.ticket"
        left = path.read_bytes() if not run.has else None
        self.leaves(run)
        if left is not None and not path.exists():
            path.write_bytes(left)  # with nobody's lock

    @invariant()
    def the_first_in_the_queue_waits_for_nobody_in_it(self) -> None:
        waiting = [each for each in self.there if not each.has]
        assert not waiting or waiting[0].place.ahead() == []


Queue.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_the_queue = Queue.TestCase


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "leases"
    path.mkdir()
    monkeypatch.setenv(leases.FOLDER, str(path))
    return path


@pytest.fixture
def wide(folder: Path) -> Iterator[tickets.Place]:
    """A run that waits for all devices."""
    with tickets.taken(folder, WHOLE, 3, party("wide")) as place:
        yield place


def acquire(devices: list[Device], wait: float, clock: FakeClock, said: list[str]) -> ExitStack:
    _, held = leases.acquire(
        devices,
        1,
        "narrow",
        Path("/runs/narrow"),
        foreign=lambda *_: "",
        wait=wait,
        on_tick=said.append,
        clock=clock,
    )
    return held


def test_a_narrow_run_does_not_overtake_a_wide_one_and_says_for_whom_it_waits(wide: tickets.Place) -> None:
    said: list[str] = []
    with pytest.raises(leases.Refused) as refused:
        acquire(WHOLE, 60.0, FakeClock(), said)
    for text in (said[0], str(refused.value)):
        assert f"0, 1, 2: kept for wide in /runs/wide (pid {os.getpid()}, " in text
        assert text.endswith("which waits for 3")


def test_who_does_not_wait_gives_those_before_it_a_moment(folder: Path) -> None:
    clock, waits = FakeClock(), ExitStack()
    waits.enter_context(tickets.taken(folder, WHOLE, 3, party("wide")))

    def on_tick(_: str) -> None:
        if clock.now >= 1.0:
            waits.close()

    _, held = leases.acquire(
        WHOLE, 1, "narrow", Path("/runs"), foreign=lambda *_: "", wait=0.0, on_tick=on_tick, clock=clock
    )
    held.close()
    assert 1.0 <= clock.now < 2.0


def test_who_does_not_wait_is_refused_at_once_where_a_device_is_leased(folder: Path) -> None:
    clock = FakeClock()
    with acquire(WHOLE[:1], 0.0, clock, []), pytest.raises(leases.Refused, match="0: leased by narrow"):
        acquire(WHOLE[:1], 0.0, clock, [])
    assert clock.now < 1.0


def test_what_nobody_before_waits_for_may_be_taken(folder: Path) -> None:
    with (
        tickets.taken(folder, WHOLE[:2], 2, party("wide")),
        acquire(WHOLE, 0.0, FakeClock(), []),
        pytest.raises(leases.Refused, match=r"0, 1: kept for wide .*; 2: leased by narrow"),
    ):
        acquire(WHOLE, 1.0, FakeClock(), [])


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"holder": 5}', b"\xff", b"[" * 60000, b"9" * 70000])
def test_a_ticket_that_nobody_can_read_keeps_nothing(folder: Path, wide: tickets.Place, said: bytes) -> None:
    (folder / f"{wide.number:09}.ticket").write_bytes(said)  # locked as before
    acquire(WHOLE, 0.0, FakeClock(), []).close()


def test_what_is_no_file_in_place_of_a_ticket_keeps_nobody_waiting(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "000000001.ticket")
    (folder / "000000002.ticket").symlink_to(tmp_path / "elsewhere")
    (folder / "000000003.ticket").mkdir()
    acquire(WHOLE, 0.0, FakeClock(), []).close()
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_ticket_of_a_killed_process_is_removed(folder: Path) -> None:
    (folder / "abc.ticket-part").write_text("")
    acquire(WHOLE, 0.0, FakeClock(), []).close()
    assert {each.suffix for each in folder.iterdir()} == {".lock"}


def test_a_ticket_is_readable_for_everybody(folder: Path, wide: tickets.Place) -> None:
    (path,) = folder.glob("*.ticket")
    assert path.stat().st_mode & 0o777 == 0o644
    assert json.loads(path.read_text())["count"] == 3


def test_who_has_a_device_is_known_while_it_has_it(folder: Path) -> None:
    assert leases.holder(WHOLE[0]) is None
    with acquire(WHOLE, 0.0, FakeClock(), []):
        found = leases.holder(WHOLE[0])
        assert found is not None
        assert (found.holder, found.folder, found.pid) == ("narrow", "/runs/narrow", os.getpid())
        assert leases.holder(WHOLE[1]) is None
    assert leases.holder(WHOLE[0]) is None
