"""How many verifications an answer takes under rejection sampling, when drafts are accepted with a known probability.

A drafter proposes one token, with certainty, and the target gives it probability ``a`` in every state. Rejection
sampling (arXiv 2211.17192, with q = 1 on that token) accepts it with probability min(1, p / q) = ``a``, and draws what
is rejected from the rest. So of k drafts a verification accepts i < k with probability a^i (1 - a), and all k with a^k,
whatever came before: E[accepted] = a + a^2 + ... + a^k.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Distribution = npt.NDArray[np.float64]


def verifications(acceptance: float, drafted: int, tokens: int) -> Distribution:
    """Distribution of the number of verifications for an answer.

    The prompt's step gives the first token, without a draft; each verification one more than it accepts.

    Args:
        acceptance: ``a``.
        drafted: ``k``.
        tokens: Of the answer.

    Returns:
        Probability by number, (tokens,).
    """
    emits = [acceptance**i * (1 - acceptance) for i in range(drafted)] + [acceptance**drafted]
    found = np.zeros(tokens)
    missing = np.zeros(tokens)  # probability by the number of tokens that are still missing
    missing[-1] = 1.0
    found[0] = missing[0]
    for number in range(1, tokens):
        following = np.zeros(tokens)
        for emitted, probability in enumerate(emits, 1):
            found[number] += probability * missing[1 : emitted + 1].sum()
            following[1 : max(tokens - emitted, 1)] += probability * missing[1 + emitted :]
        missing = following
    return found


def together(parts: Mapping[tuple[float, int], int], drafted: int) -> Distribution:
    """Distribution of the verifications of many answers.

    Args:
        parts: How many answers there are with an acceptance and a number of tokens.
        drafted: Drafts of a verification.
    """
    size = 1 + sum(number * (tokens - 1) for (_, tokens), number in parts.items())
    spectrum: npt.NDArray[np.complex128] = np.ones(size // 2 + 1, np.complex128)
    for (acceptance, tokens), number in parts.items():
        spectrum = spectrum * np.fft.rfft(verifications(acceptance, drafted, tokens), size) ** number
    return np.clip(np.fft.irfft(spectrum, size), 0.0, 1.0)


def p_value(drafts: int, distribution: Distribution) -> float:
    """Two-sided: twice the smaller tail at ``drafts``; what the transform lost of the tails, 1e-12, is on top."""
    if not 0 <= drafts < len(distribution):
        return 0.0
    below, above = distribution[: drafts + 1].sum(), distribution[drafts:].sum()
    return float(min(1.0, 2 * min(below, above) + 1e-12))
