"""The scheduler: every job runs once, devices are shared by those alone that say so, and reservations are kept."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from harness.fleet.jobs import Host, Job, Placed, room
from harness.fleet.schedule import decide
from harness.fleet.simulation import Simulated, lower_bound, simulate

GIB = 1 << 30
DEVICES = tuple("01234567")


def host(name: str = "a", *, devices: int = 8, cores: int = 64, memory: int = 256) -> Host:
    return Host(name, DEVICES[:devices], cores, memory * GIB, dict.fromkeys(DEVICES[:devices], 20 * GIB))


@st.composite
def job_lists(draw: st.DrawFn) -> list[Job]:
    seconds = st.sampled_from([1.0, 2.0, 3.5, 10.0, 60.0])
    return [
        Job(
            f"job {number}",
            draw(seconds),
            draw(st.sampled_from([0, 1, 1, 2, 3, 4, 8])),
            draw(st.integers(0, 70)),
            draw(st.sampled_from([0, 1, 40, 300])) * GIB,
            draw(st.sampled_from([None, None, frozenset("01"), frozenset("4567")])),
            draw(st.sampled_from([0, 0, 6 * GIB, 9 * GIB])),
        )
        for number in range(draw(st.integers(0, 25)))
    ]


HOSTS = st.lists(st.sampled_from([2, 4, 8]), min_size=1, max_size=3).map(
    lambda widths: [host(f"host {at}", devices=width) for at, width in enumerate(widths)]
)
FACTORS = st.lists(st.sampled_from([0.1, 0.5, 1.0, 1.5, 8.0]), min_size=1, max_size=7)


def _unlike(factors: list[float]) -> Callable[[Job], float]:
    """Seconds that are not as expected."""
    return lambda job: job.seconds * factors[len(job.name) * int(job.name[4:]) % len(factors)]


def _at_once(found: Simulated, at: float) -> list[Placed]:
    return [each.placed for each in found.ran if each.began <= at < each.ended]


@given(job_lists(), HOSTS, FACTORS)
def test_every_job_runs_once_and_nobody_has_what_is_anothers(
    jobs: list[Job], hosts: list[Host], factors: list[float]
) -> None:
    found = simulate(jobs, hosts, _unlike(factors))
    possible = [job.name for job in jobs if any(room(job, each, ()) is not None for each in hosts)]
    assert Counter(each.placed.job.name for each in found.ran) == Counter(possible)
    for began in {each.began for each in found.ran}:
        together = _at_once(found, began)
        for each in hosts:
            here = [placed for placed in together if placed.host == each.name]
            whole = [device for placed in here if not placed.job.share for device in placed.devices]
            shares = [(device, placed.job.share) for placed in here if placed.job.share for device in placed.devices]
            assert len(whole) == len(set(whole))
            assert {device for device, _ in shares}.isdisjoint(whole)
            assert {*whole, *(device for device, _ in shares)} <= set(each.devices)
            for device in each.devices:
                assert sum(amount for name, amount in shares if name == device) <= each.room[device]
            assert sum(min(placed.job.cores, each.cores) for placed in here) <= each.cores
            assert sum(min(placed.job.memory, each.memory) for placed in here) <= each.memory
        for placed in together:
            assert len(placed.devices) == placed.job.devices
            assert placed.job.suited is None or set(placed.devices) <= placed.job.suited


@given(job_lists(), HOSTS)
def test_who_is_promised_a_start_never_starts_later(jobs: list[Job], hosts: list[Host]) -> None:
    """As long as jobs take what is expected: nothing that goes ahead of a waiting job delays it."""
    found = simulate(jobs, hosts)
    began = {each.placed.job.name: each.began for each in found.ran}
    for promise in found.promises:
        assert began[promise.job.name] <= promise.at


@given(job_lists(), HOSTS, st.randoms(use_true_random=False))
def test_the_order_of_the_plan_does_not_matter(jobs: list[Job], hosts: list[Host], shuffle: random.Random) -> None:
    other_jobs, other_hosts = list(jobs), list(hosts)
    shuffle.shuffle(other_jobs)
    shuffle.shuffle(other_hosts)
    assert simulate(other_jobs, other_hosts) == simulate(jobs, hosts)


@given(job_lists(), HOSTS)
def test_no_schedule_is_shorter_than_the_bound(jobs: list[Job], hosts: list[Host]) -> None:
    alike = [host(each.name) for each in hosts]
    fitting = [job for job in jobs if room(job, alike[0], ()) is not None]
    assert simulate(fitting, alike).makespan >= lower_bound(fitting, alike) - 1e-6


def test_a_wide_job_is_not_starved_by_narrow_ones_that_come_for_ever() -> None:
    """One device stays busy with short jobs, each of which could start at once if nobody counted."""
    wide = Job("wide", 30.0, 2)
    running = [Placed(Job("first", 100.0, 1), "a", ("0",), ends=10.0)]
    narrow = [Job(f"narrow {number}", 20.0, 1) for number in range(10)]
    decision = decide([wide, *narrow], running, [host(devices=2)], now=0.0)
    assert decision.starts == ()
    assert decision.reserved is not None
    assert (decision.reserved.job, decision.reserved.at) == (wide, 10.0)


def test_a_short_job_goes_ahead_where_the_wide_one_waits_all_the_same() -> None:
    wide, short = Job("wide", 30.0, 2), Job("short", 10.0, 1)
    running = [Placed(Job("first", 100.0, 1), "a", ("0",), ends=10.0)]
    decision = decide([wide, short], running, [host(devices=2)], now=0.0)
    assert [(each.job.name, each.devices) for each in decision.starts] == [("short", ("1",))]


def test_a_job_that_takes_longer_than_expected_lets_nobody_else_go_ahead() -> None:
    """Its devices are promised: when they come, the wide job is next."""
    late = [Placed(Job("late", 5.0, 1), "a", ("0",), ends=5.0)]
    decision = decide([Job("wide", 30.0, 2), Job("short", 1.0, 1)], late, [host(devices=2)], now=50.0)
    assert decision.starts == ()


def test_what_no_host_has_room_for_blocks_nobody() -> None:
    decision = decide([Job("wider", 99.0, 16), Job("fits", 1.0, 8)], [], [host()], now=0.0)
    assert [each.job.name for each in decision.starts] == ["fits"]
    assert decision.reserved is None


def test_processors_and_memory_count() -> None:
    """Two pairs of servers on four processors; what needs more than there is runs alone, as it would anyway."""
    pairs = [Job(f"pair {number}", 10.0, cores=4, memory=8 * GIB) for number in range(2)]
    four = host(devices=0, cores=4)
    assert len(decide(pairs, [], [four], now=0.0).starts) == 1
    assert len(decide(pairs, [], [host(devices=0, cores=8)], now=0.0).starts) == 2
    assert len(decide(pairs, [], [host(devices=0, cores=8, memory=12)], now=0.0).starts) == 1
    assert len(decide(pairs, [], [host(devices=0, cores=2, memory=2)], now=0.0).starts) == 1


def test_devices_that_do_not_suit_stay_for_others() -> None:
    large = Job("large", 20.0, 1, suited=frozenset("3"))
    starts = decide([large, Job("any", 30.0, 1)], [], [host(devices=4)], now=0.0).starts
    assert {each.job.name: each.devices for each in starts} == {"any": ("0",), "large": ("3",)}


def test_a_matrix_of_many_shapes_is_near_the_bound() -> None:
    chosen = random.Random(18)
    jobs = [
        Job(str(number), chosen.choice([60, 120, 300, 900, 1800]), chosen.choice([1, 1, 1, 1, 2, 2, 2, 4, 4, 8]))
        for number in range(120)
    ]
    for count in (1, 2, 4):
        hosts = [host(str(number)) for number in range(count)]
        assert simulate(jobs, hosts).makespan <= 1.1 * lower_bound(jobs, hosts)


def test_a_pair_has_two_devices_where_there_are_two_and_one_where_there_is_one() -> None:
    pair = Job("pair", 10.0, 2, share=6 * GIB)
    assert [each.devices for each in decide([pair], [], [host(devices=2)], now=0.0).starts] == [("0", "1")]
    assert [each.devices for each in decide([pair], [], [host(devices=1)], now=0.0).starts] == [("0", "0")]


def test_those_that_share_leave_whole_devices_to_others() -> None:
    small = [Job(f"small {number}", 10.0, 1, share=6 * GIB) for number in range(4)]
    starts = decide([*small, Job("large", 5.0, 1)], [], [host(devices=3)], now=0.0).starts
    assert [(each.job.name, each.devices) for each in starts] == [
        ("small 0", ("0",)),
        ("small 1", ("0",)),
        ("small 2", ("0",)),
        ("small 3", ("1",)),
        ("large", ("2",)),
    ]


def test_what_others_share_is_nobodys_alone_and_has_less_room() -> None:
    there = Host("a", ("0",), 64, 256 * GIB, {"0": 7 * GIB}, frozenset("0"))
    small = [Job(f"small {number}", 10.0, 1, share=6 * GIB) for number in range(2)]
    starts = decide([*small, Job("large", 50.0, 1)], [], [there], now=0.0).starts
    assert [each.job.name for each in starts] == ["small 0"]


def test_a_job_that_wants_a_whole_device_is_not_starved_by_those_that_share_it() -> None:
    running = [Placed(Job("first", 9.0, 1, share=6 * GIB), "a", ("0",), ends=9.0)]
    small = [Job(f"small {number}", 20.0, 1, share=6 * GIB) for number in range(9)]
    decision = decide([Job("large", 30.0, 1), *small], running, [host(devices=1)], now=0.0)
    assert decision.starts == ()
    assert decision.reserved is not None
    assert decision.reserved.at == 9.0
