"""The search for the first bad build: how many starts it needs, what it says when it cannot tell, and going on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.base.errors import CannotJudge, UsageError
from harness.bisection.build_list import build_list
from harness.bisection.search import MOST_OF_ONE, Bisection, least_starts
from harness.bisection.search_record import FILE, Asked, Said, Search, Trial, begun, keep
from harness.statistics.first_bad import DOUBT, Outcome, belief, most_telling, narrowed
from harness.statistics.sequential import Errors

KNOWN = Errors(0.001, 0.001)
Truth = Callable[[int, int], Said]
"""What a start says, of which build and for how many-th time it is started."""


def asked(number: int, errors: Errors = KNOWN, by: str = "checks") -> Asked:
    return Asked.model_validate(
        {
            "case": "eagle3/known_answer",
            "platform": "cpu",
            "builds": tuple(f"b{each}" for each in range(number)),
            "make": "",
            "by": by,
            "quantities": (),
            "false_alarm": errors.false_alarm,
            "false_pass": errors.false_pass,
            "confidence": 0.95,
        }
    )


def searched(
    folder: Path,
    number: int,
    truth: Truth,
    *,
    errors: Errors = KNOWN,
    shows: bool | None = None,
    search: Search | None = None,
    most: int = 40,
) -> Bisection:
    def attempt(known: Search, at: int) -> Trial:
        said = truth(at, len(known.of(at)))
        return Trial(build=at, said=said, why="", folder=f"{len(known.trials)}")

    beside = None if shows is None else lambda _search, _last, _first: bool(shows)
    begin = search or Search(harness="0", asked=asked(number, errors))
    return Bisection(begin, folder, attempt, beside, lambda _line: None, most)


def turns_bad(first: int) -> Truth:
    return lambda at, _time: "bad" if at >= first else "good"


@pytest.mark.parametrize("number", [2, 3, 5, 16, 17, 33])
def test_every_first_bad_build_is_found_and_confirmed_in_fewest_starts(tmp_path: Path, number: int) -> None:
    for first in range(1, number):
        found = searched(tmp_path, number, turns_bad(first))
        assert found.run() == first
        trials = found.search.trials
        assert len(trials) <= least_starts(number) + (number == 2)  # of two both are started, to see that they differ
        started = [each.build for each in trials]
        assert {first - 1, first} <= set(started)
        ends = {0, number - 1}
        assert started.count(first) == (1 if {first, first - 1} & ends else 2)
    assert least_starts(16) == 5


def test_the_ends_are_started_only_where_they_are_neighbours(tmp_path: Path) -> None:
    found = searched(tmp_path, 16, turns_bad(10))
    assert found.run() == 10
    assert [each.build for each in found.search.trials] == [7, 11, 9, 10, 10]


@pytest.mark.parametrize(("first", "words"), [(0, "b0 is bad"), (16, "b15 is good")])
def test_an_end_that_is_not_what_it_is_said_to_be_is_named(tmp_path: Path, first: int, words: str) -> None:
    with pytest.raises(CannotJudge, match=words):
        searched(tmp_path, 16, turns_bad(first)).run()


def test_builds_that_cannot_be_judged_are_left_out(tmp_path: Path) -> None:
    skipped = {7, 8}

    def truth(at: int, _time: int) -> Said:
        return "skip" if at in skipped else "bad" if at >= 10 else "good"

    found = searched(tmp_path, 16, truth)
    assert found.run() == 10
    assert [each.build for each in found.search.trials if each.said == "skip"] == [7, 8]


def test_a_first_bad_build_beside_one_that_cannot_be_judged_is_one_of_two(tmp_path: Path) -> None:
    def truth(at: int, _time: int) -> Said:
        return "skip" if at == 9 else "bad" if at >= 10 else "good"

    found = searched(tmp_path, 16, truth)
    with pytest.raises(CannotJudge, match="it is one of b9, b10; b9 could not be judged"):
        found.run()
    assert found.search.first is None


def test_where_nothing_can_be_judged_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotJudge, match="cannot be told"):
        searched(tmp_path, 4, lambda _at, _time: "skip").run()


def test_an_undecided_build_is_started_again_and_then_left_out(tmp_path: Path) -> None:
    def once(at: int, time: int) -> Said:
        return "undecided" if time == 0 else "bad" if at >= 3 else "good"

    assert searched(tmp_path, 8, once).run() == 3

    def never(at: int, _time: int) -> Said:
        return "undecided" if at == 3 else "bad" if at >= 6 else "good"

    found = searched(tmp_path, 8, never)
    assert found.run() == 6
    assert len(found.search.of(3)) <= MOST_OF_ONE


def test_a_start_that_was_wrong_is_seen_when_it_is_confirmed(tmp_path: Path) -> None:
    """The first start of build 10 is red by chance: the confirming one is not, and the search goes on."""

    def truth(at: int, time: int) -> Said:
        return "bad" if at >= 12 or (at == 9 and time == 0) else "good"

    found = searched(tmp_path, 16, truth, errors=Errors(0.05, 0.05))
    assert found.run() == 12


def test_side_by_side_the_good_build_is_started_first_and_nothing_twice(tmp_path: Path) -> None:
    found = searched(tmp_path, 16, turns_bad(10), shows=True)
    assert found.run() == 10
    assert [each.build for each in found.search.trials] == [0, 8, 12, 10, 9]


def test_what_two_neighbours_do_not_show_is_not_confirmed(tmp_path: Path) -> None:
    found = searched(tmp_path, 16, turns_bad(10), shows=False)
    with pytest.raises(CannotJudge, match="beside b9 b10 shows no loss"):
        found.run()
    assert len(found.search.of(10)) == MOST_OF_ONE


def test_without_the_good_build_nothing_can_be_compared(tmp_path: Path) -> None:
    with pytest.raises(CannotJudge, match="the good build could not be measured"):
        searched(tmp_path, 4, lambda _at, _time: "skip", shows=True).run()


def test_starts_are_bounded(tmp_path: Path) -> None:
    found = searched(tmp_path, 16, turns_bad(10), most=3)
    with pytest.raises(CannotJudge, match="undecided after 3 starts"):
        found.run()
    assert len(found.search.trials) == 3


def test_it_goes_on_after_every_start(tmp_path: Path) -> None:
    """Wherever it is killed, the same starts follow."""
    whole = searched(tmp_path, 16, turns_bad(10))
    whole.run()
    for done in range(len(whole.search.trials) + 1):
        part = whole.search.model_copy(update={"trials": whole.search.trials[:done], "first": None})
        keep(tmp_path, part)
        again = begun(tmp_path, part.asked)
        assert again == part
        found = searched(tmp_path, 16, turns_bad(10), search=again)
        assert found.run() == 10
        assert [each.build for each in found.search.trials] == [each.build for each in whole.search.trials]


def test_another_search_does_not_go_on_in_its_folder(tmp_path: Path) -> None:
    assert begun(tmp_path, asked(16)) is None
    keep(tmp_path, Search(harness="0", asked=asked(16)))
    with pytest.raises(UsageError, match="a search with another builds; give another folder with --runs"):
        begun(tmp_path, asked(15))
    (tmp_path / FILE).write_text("{")
    with pytest.raises(UsageError, match=r"bisect\.json"):
        begun(tmp_path, asked(16))


@given(
    number=st.integers(2, 40),
    trials=st.lists(st.tuples(st.integers(0, 39), st.booleans()), max_size=8),
    allowed=st.sets(st.integers(0, 39)),
)
@settings(max_examples=60, deadline=None)
def test_beliefs_are_probabilities_and_what_is_named_is_among_them(
    number: int, trials: list[tuple[int, bool]], allowed: set[int]
) -> None:
    outcomes = [Outcome(at, bad) for at, bad in trials if at < number]
    beliefs = belief(number, outcomes, Errors(0.01, 0.05))
    assert len(beliefs) == number + 1
    assert sum(beliefs) == pytest.approx(1)
    inside = {each for each in allowed if each < number}
    span, sure = narrowed(beliefs, inside)
    assert sure == pytest.approx(sum(beliefs[each] for each in span))
    assert not any(at + 1 in span and at in span for at in inside)
    if inside:
        assert most_telling(beliefs, inside, Errors(0.01, 0.05)) in inside


def test_what_is_believed_before_and_after_one_test() -> None:
    errors = Errors(0.01, 0.05)
    before = belief(3, [], errors)
    assert before == pytest.approx([DOUBT, (1 - 2 * DOUBT) / 2, (1 - 2 * DOUBT) / 2, DOUBT])
    after = belief(3, [Outcome(1, bad=True)], errors)
    of_one = (0.95 * before[0], 0.95 * before[1], 0.01 * before[2], 0.01 * before[3])
    assert after == pytest.approx([each / sum(of_one) for each in of_one])


def test_a_list_is_what_lies_between_the_two(tmp_path: Path) -> None:
    path = tmp_path / "builds"
    path.write_text("# nightly\n\na\nb # the second\nc\nd\n")
    assert build_list("b", "d", path, "") == ("b", "c", "d")
    assert build_list("9", "12", None, "make {}") == ("9", "10", "11", "12")


@pytest.mark.parametrize(
    ("good", "bad", "lines", "make", "words"),
    [
        ("a", "x", "a\nb", "", "--bad x: not in"),
        ("b", "a", "a\nb", "", "comes before b"),
        ("a", "a", "a\nb", "", "comes before a"),
        ("a", "b", "a\na\nb", "", "is there twice"),
        ("a", "b", None, "make {}", "--builds: missing"),
        ("1", "4", None, "", "--builds: missing"),
        ("4", "1", None, "make {}", "must be a number after 4"),
    ],
)
def test_wrong_lists_are_one_line(
    tmp_path: Path, good: str, bad: str, lines: str | None, make: str, words: str
) -> None:
    path = None
    if lines is not None:
        path = tmp_path / "builds"
        path.write_text(lines)
    with pytest.raises(UsageError, match=words):
        build_list(good, bad, path, make)


def test_a_list_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        build_list("a", "b", tmp_path / "none", "")
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        build_list("a", "b", tmp_path / "latin", "")
