"""Upstream's figures against those of the cases, both ways."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from harness.upstream.comparison_report import Line
from harness.upstream.figures import Figure, Registered
from harness.upstream.ours import Held

_UNITS = {"acceptance_length": "acceptance length", "acceptance_per_position": "acceptance per position"}


def figures(theirs: Sequence[Figure], ours: Sequence[Held]) -> tuple[list[Line], set[Held]]:
    """What is the same, differs or is new.

    One file may have several figures of the same kind and models, so a figure of a case which is one of them differs
    from none of the others.

    Returns:
        A line each, those that say the very same of the same file folded into one; and all of ours that one of theirs
        was compared with.
    """
    counting = [each for each in theirs if any(each.values)]  # everything passes a bound of zero
    met = {each for figure in counting for each in _named(figure, ours) if not list(_differences(figure, each))}
    exact = frozenset(met)
    folded: dict[tuple[object, ...], list[Line]] = {}
    for figure in counting:
        line, counterparts = _compared(figure, ours, exact)
        met |= counterparts
        folded.setdefault((figure.file, line.what, line.name, line.told), []).append(line)
    return [replace(each[0], more=len(each) - 1) for each in folded.values()], met


def _near(figure: Figure, ours: Sequence[Held]) -> list[Held]:
    return [each for each in ours if each.kind == figure.kind and about_the_same(each, figure)]


def _named(figure: Figure, ours: Sequence[Held]) -> list[Held]:
    return [each for each in _near(figure, ours) if each.names(figure.file)]


def _compared(figure: Figure, ours: Sequence[Held], exact: frozenset[Held]) -> tuple[Line, set[Held]]:
    named = _named(figure, ours)
    name, place = _name(figure), str(figure.place)
    alike = [each for each in named if not list(_differences(figure, each))]
    if alike:
        return Line("same", "figure", name, _numbers(figure.values), place, _cases(alike)), set(alike)
    past = [each for each in named if any(equal(figure.values, (value,)) for value in each.known)]
    if past:
        told = f"{_numbers(figure.values)}, which the case has in its history"
        return Line("same", "figure", name, told, place, _cases(past)), set()
    other = [each for each in named if each not in exact]
    if not other:
        return Line("new", "figure", name, _told_new(figure, ours), place, _cases(_near(figure, ours))), set()
    least = min(_apart(figure, each) for each in other)
    best = [each for each in other if _apart(figure, each) == least]
    told = "; ".join(dict.fromkeys(one for each in best for one in _differences(figure, each)))
    return Line("differs", "figure", name, told, place, _cases(best)), set(best)


def about_the_same(held: Held, figure: Figure) -> bool:
    """Whether both are about the same models, data and platform, as far as upstream's could be read.

    A figure whose model could not be read is only about the same where the case names its file.
    """
    theirs = figure.setting
    same = _is(theirs.target, held) if theirs.target else held.names(figure.file)
    drafters = not theirs.drafter or not held.drafter or _is(theirs.drafter, held)
    platforms = theirs.platform in (None, held.platform)
    asked = {_plain(theirs.dataset), _plain(held.dataset)} - {""}
    return same and drafters and platforms and len(asked) < 2


def _is(repository: str, held: Held) -> bool:
    """Whether a case has a model; the hub does not tell small letters from capitals."""
    return repository.lower() in (held.target.lower(), held.drafter.lower())


def _plain(dataset: str) -> str:
    return dataset.lower().replace("_", "-")


def _apart(figure: Figure, held: Held) -> tuple[int, float]:
    """In how many ways two figures differ, and how far their numbers are apart."""
    alike = len(figure.values) == len(held.values)
    pairs = zip(figure.values, held.values, strict=True) if alike else ()
    return len(list(_differences(figure, held))), max((abs(a - b) for a, b in pairs), default=math.inf)


def _differences(figure: Figure, held: Held) -> Iterator[str]:
    if not equal(figure.values, held.values):
        yield f"ours {_numbers(held.values)}, theirs {_numbers(figure.values)}"
    if figure.tolerances and not any(equal([each], [held.tolerance]) for each in figure.tolerances):
        yield f"tolerance: ours {held.tolerance:g}, theirs {_numbers(tuple(dict.fromkeys(figure.tolerances)))}"
    tokens = figure.setting.draft_tokens
    if tokens is not None and held.draft_tokens is not None and tokens != held.draft_tokens:
        yield f"draft tokens: ours {held.draft_tokens}, theirs {tokens}"


def equal(left: Sequence[float], right: Sequence[float]) -> bool:
    """Whether two figures are the same number, or the same numbers position by position."""
    return len(left) == len(right) and all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(left, right, strict=True))


def _told_new(figure: Figure, ours: Sequence[Held]) -> str:
    number, near = _numbers(figure.values), _near(figure, ours)
    if near:
        others = ", ".join(dict.fromkeys(_numbers(each.values) for each in near))
        where = "of this file" if _named(figure, ours) else "of other files"
        return f"{number}; for the same, cases hold {others} {where}"
    if figure.setting.target and any(_is(figure.setting.target, each) for each in ours):
        return f"{number}; cases with this model ask something else"
    return f"{number}; no case has this model" if figure.setting.target else f"{number}; its model was not read"


def gone(ours: Iterable[Held], theirs: Sequence[Figure], met: set[Held], files: Sequence[str]) -> Iterator[Line]:
    """Figures of cases that name a file of upstream's which does not have them any more.

    Args:
        ours: All.
        theirs: All that were read.
        met: Those of ours that were compared with one of theirs.
        files: All files of the checkout.
    """
    for held in ours:
        if held in met or not held.files:
            continue
        there = [path for path in files if held.names(path)]
        name = f"{held.target}: {_UNITS.get(held.kind, held.kind)} on {held.platform}"
        if not there:
            yield Line("gone", "figure", name, _moved(held, files), "", (held.case,))
            continue
        same = [each for each in theirs if each.kind == held.kind and each.file in there]
        if any(equal(each.values, held.values) for each in same):
            continue
        holds = ", ".join(dict.fromkeys(_numbers(each.values) for each in same)) or "none"
        told = f"ours {_numbers(held.values)} is not there; figures of this kind that are: {holds}"
        yield Line("gone", "figure", name, told, there[0], (held.case,))


def _moved(held: Held, files: Sequence[str]) -> str:
    last = held.files[0].rpartition("/")[2]
    elsewhere = [path for path in files if path.rpartition("/")[2] == last]
    hint = f"; a file of that name is {elsewhere[0]}" if len(elsewhere) == 1 else ""
    return f"ours {_numbers(held.values)}: {', '.join(held.files)} is not in the checkout{hint}"


def disabled(registered: Sequence[Registered], ours: Sequence[Held]) -> Iterator[Line]:
    """Test files that cases name and upstream's CI does not run on one of its platforms, with its reason."""
    for each in registered:
        cases = _cases([held for held in ours if held.names(each.place.path)])
        if each.disabled and cases:
            told = f"upstream's CI does not run it: {each.disabled}"
            yield Line("gone", "test", f"{each.place.path} on {each.platform}", told, str(each.place), cases)


def _name(figure: Figure) -> str:
    setting = figure.setting
    parts = [setting.target or "model not read"]
    parts += [f"with {setting.drafter}"] if setting.drafter and setting.drafter != setting.target else []
    parts += [setting.method] if setting.method and not setting.drafter else []
    kind = _UNITS.get(figure.kind, figure.kind.replace("_", " "))
    asked = f" on {setting.dataset}" if setting.dataset else ""
    platform = f" ({setting.platform})" if setting.platform else ""
    return f"{' '.join(parts)}: {kind}{asked}{platform}"


def _cases(held: Iterable[Held]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.case for each in held))


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
