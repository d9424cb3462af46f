"""A Markov chain whose next-token distribution is known exactly: what there is to sample from, and what must come.

A *state* is all that the model knows: each token leads into one, whatever came before. From each of the 11 states of
the chain eight tokens follow, whose logits are the same eight numbers in another order: the *rank* of a token, 0 for
the likeliest, is drawn independently of everything that was drawn before. All other logits are 0, 31 nats below. Logits
are eighths between 16 and 32, which bf16 holds exactly (see :mod:`.chain_weights`), and so is every step to them.

Beside the chain there is a line of words: after ``:`` come the words one by one, then the end of the sequence. Each of
them is certain. Where the end is forbidden, the chain goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from known_answer import vocabulary as v

STATES, RANKS = 11, 8
TOP = 31.0
OFFSETS = (0.0, 2.25, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5)
"""Nats that each rank is behind the likeliest: at temperature 1 probabilities 0.816, 0.086, 0.041, 0.025, 0.015, 0.009,
0.005 and 0.003."""
WORDS = 12
INSTEAD = 16.0
"""Logit of the token that follows the last word where the end of the sequence is forbidden."""

_CHARACTERS = [character for character in map(chr, range(33, 127)) if character != ":"][: STATES * RANKS]
_TURN = 3  # coprime with the number of ranks


def token(state: int, rank: int) -> int:
    """Id of the token of a rank that follows ``state``: another one for each, so a token says where it came from."""
    return v.byte(_CHARACTERS[state * RANKS + (_TURN * rank + state) % RANKS])


def after(state: int, rank: int) -> int:
    """State into which that token leads. The likeliest ones go round all states."""
    return (state + 3 + 4 * rank) % STATES


_DRAWN = {token(state, rank): (state, rank) for state in range(STATES) for rank in range(RANKS)}


def drawn(token_id: int) -> tuple[int, int] | None:
    """The state in which a token is drawn, and its rank; None of one that no state of the chain emits."""
    return _DRAWN.get(token_id)


def state_of(token_id: int) -> int:
    """State into which a token leads. Those from ``STATES`` on are the words of the line."""
    if token_id == v.byte(":"):
        return STATES
    if v.WORD <= token_id < v.WORD + WORDS:
        return STATES + 1 + token_id - v.WORD
    return after(*_DRAWN[token_id]) if token_id in _DRAWN else token_id % STATES


def logits(state: int) -> dict[int, float]:
    """Logit by token in ``state``; that of every other token is 0."""
    if state < STATES:
        return {token(state, rank): TOP - offset for rank, offset in enumerate(OFFSETS)}
    word = state - STATES
    return {v.WORD + word: TOP} if word < WORDS else {v.EOS: TOP, token(0, 0): INSTEAD}


def every_state() -> range:
    """All states: of the chain, then of the line of words."""
    return range(STATES + WORDS + 1)


def greedy(last: int, length: int, forbidden: Mapping[int, int] | None = None) -> list[int]:
    """Tokens of a greedy answer that does not stop.

    Args:
        last: Last token of the prompt.
        length: Tokens.
        forbidden: Tokens that must not come, each with the number of tokens before which it is forbidden.
    """
    found: list[int] = []
    state = state_of(last)
    while len(found) < length:
        barred = {each for each, until in (forbidden or {}).items() if len(found) < until}
        following = {each: logit for each, logit in logits(state).items() if each not in barred}
        found.append(max(following, key=following.__getitem__))
        state = state_of(found[-1])
    return found


_LONGEST = 5
"""Characters of the longest token."""
_AGREE = 3


def ranks(text: str, last: int) -> Iterator[tuple[int, int | None]]:
    """What was drawn for a text: state and rank, token by token; as rank None where no such token follows there.

    A token that no state of the chain emits is spelled by none, one or more characters, some of which may look like
    tokens of the chain. So behind one the walk is picked up where three tokens follow each other again.

    Args:
        text: An answer.
        last: Last token of its prompt.
    """
    found = [_DRAWN.get(v.BYTE + ord(each)) if ord(each) < 128 else None for each in text]
    state, at = state_of(last), 0
    while at < len(found):
        here = found[at]
        if here is not None and here[0] == state:
            yield here
        else:
            yield state, None
            window = range(at, min(at + _LONGEST + 1, len(found)))
            at = next((each for each in window if _walks(found[each : each + _AGREE])), at)
            if (here := found[at]) is None:
                at += 1
                continue
            if _walks(found[at : at + _AGREE]):
                yield here
        state, at = after(*here), at + 1


def _walks(drawn: Sequence[tuple[int, int] | None]) -> bool:
    """Whether all are tokens of the chain that follow each other."""
    known = [each for each in drawn if each is not None]
    return len(known) == len(drawn) and all(after(*a) == b[0] for a, b in pairwise(known))


def draft(state: int, rank: int) -> int:
    """What a drafter proposes in ``state`` that always proposes this rank, and is right about the line of words."""
    following = logits(state)
    return token(state, rank) if state < STATES else max(following, key=following.__getitem__)


def spelled(tokens: Sequence[int]) -> str:
    """Text of tokens, as a server returns it."""
    return v.decode(list(tokens))
