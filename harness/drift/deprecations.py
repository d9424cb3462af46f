"""What a build says about names in words: that they are deprecated, superseded, or go away, and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from harness.drift.sources import Place, Sources

STATE = re.compile(
    r"\b(?:deprecated|superseded|obsolete|deprecation|no longer (?:used|supported|read)|has no effect"
    r"|(?:has been|have been|was|is) removed|(?:will(?: likely)?|may|to) be ?(?:removed|rejected|dropped|unsupported)"
    r"|only for debugging|for debugging only|debugging only)\b",
    re.IGNORECASE,
)
DEBUGGING = re.compile(r"\bonly for debugging|debugging only\b", re.IGNORECASE)
_LATER = re.compile(
    r"\b(?:remove|drop|delete|reject)\b[^.;]*?\b(?:after|in|by|with|until)\s+v?(?:20\d\d-\d\d-\d\d|\d+\.\d+)",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"\b(?:deprecated|supersedes|superseding|replaces|replacing|obsolete|legacy)\s+[`'\"(]*$", re.IGNORECASE
)
_INSTEAD = re.compile(
    r"\b(?:[Uu]ses?|using|by|with|[Ss]et|setting|[Pp]ass|passing|favou?r of|[Pp]refer|via|to|than|in|within|of both)"
    r"\s+[`'\"(]*$"
)
_IF = re.compile(r"\s?(?:[<>]=?|==|!=)\s?\w")
_OTHER_NAME = re.compile(r"(?<![\w-])(?:--[a-z][\w-]+|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+){1,})")
_SENTENCES = re.compile(r"(?<=[.;!?])\s+(?=[A-Z(`'\"\[{-])")
_NEAR = 140  # letters between a name and what is said of it
_OMEN = re.compile(rf"{STATE.pattern}|TODO|deprecat|supersed|replac|legacy|unsupported|debugging", re.IGNORECASE)
_AROUND = 700  # letters of source in which a sentence about a name ends
_MOST_WORDS = 300


@dataclass(frozen=True)
class Said:
    """One sentence of a build's about a name."""

    place: Place
    text: str


def sentences(text: str) -> list[str]:
    """Sentences, each in one line."""
    return [each.strip() for each in _SENTENCES.split(" ".join(text.split())) if each.strip()]


def of_itself(told: Iterable[str]) -> str:
    """What an option's own help, text and comment say of its end; empty if they do not."""
    found = [
        each
        for text in told
        for each in _with_the_next(sentences(text))
        if _LATER.search(each) or re.match(r"[(\[]?\s*deprecated\b", each, re.IGNORECASE) or _of_this(each)
    ]
    return _short(" ".join(dict.fromkeys(found)))


def _with_the_next(all_of_it: list[str]) -> Iterator[str]:
    """A bare "Deprecated." says nothing without the sentence after it."""
    for position, each in enumerate(all_of_it):
        bare = len(each.split()) == 1 and position + 1 < len(all_of_it)
        yield f"{each} {all_of_it[position + 1]}" if bare else each


def _of_this(sentence: str) -> bool:
    return bool(re.match(r"(?:this|it)\b[^,;]*", sentence, re.IGNORECASE) and STATE.search(sentence))


def about(
    sources: Sources,
    spellings: Iterable[str],
    *,
    beside: Iterable[str] = (),
    within: Callable[[str], bool] = lambda _path: True,
) -> list[Said]:
    """Sentences that say that a name is on its way out.

    Args:
        sources: Of the build.
        spellings: Of the name.
        beside: Words of which one must be in the same sentence: the key of a value.
        within: Whether a file counts.
    """
    names, need = list(spellings), list(beside)
    found = []
    for module in sources.near(names, _OMEN, _AROUND, within):
        for text in module.texts:
            if any(name in text.text for name in names):
                said = [each for each in sentences(text.text) if _tells(each, names, need)]
                whole = text.text if said and not text.owner and len(text.text) <= _MOST_WORDS else ""
                owner = f" (above {text.owner})" if text.owner and text.owner not in text.text else ""
                found += [Said(text.place, whole or _short(each) + owner) for each in said[:1]]
    return sorted(found, key=lambda each: not each.text.startswith(tuple(names)))


def _tells(sentence: str, names: list[str], beside: list[str]) -> bool:
    return (not beside or any(each in sentence for each in beside)) and any(
        _of_name(sentence[: found.start()], sentence[found.end() :], names)
        for name in names
        for found in re.finditer(rf"(?<![\w-]){re.escape(name)}(?![\w-])", sentence)
    )


def _of_name(before: str, after: str, names: list[str]) -> bool:
    """Whether a sentence says of the name between its two parts that it goes away."""
    quoted = re.match(r"[^`]*`", after) if before.count("`") % 2 else None
    if (quoted and "--" in quoted[0]) or _IF.match(after):
        return False  # of several together, as they stand on a command line; of some values
    if _BEFORE.search(before):
        return True
    if re.match(r"\W*TODO\b", before) and _LATER.search(before + after):
        return not _INSTEAD.search(before)
    state = STATE.search(after)
    if not state or state.start() > _NEAR or _INSTEAD.search(before):
        return False
    between = after[: state.start()]
    if any(other not in names for other in _OTHER_NAME.findall(between)):
        return False
    return not re.search(r"\b(?:not|instead of|rather than|replaces|replacing|supersedes)\W+[\w\s]{0,20}$", between)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_WORDS else text[: _MOST_WORDS - 1] + "…"
