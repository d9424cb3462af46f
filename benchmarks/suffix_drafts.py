"""Whether known_answer.suffix_decoding drafts what the library that the engine uses drafts.

    PYTHONPATH=. PYTHON benchmarks/suffix_drafts.py [SEEDS]

PYTHON is that of an environment with arctic-inference and numpy. Each seed asks both for some hundred drafts of texts
in which one token is always followed by the same one, as in the answers of a known-answer checkpoint.
"""

from __future__ import annotations

import random
import sys
from itertools import accumulate, repeat

from arctic_inference.suffix_decoding import SuffixDecodingCache  # type: ignore[import-not-found] # the engine's

from known_answer.suffix_decoding import Said


def compare(seed: int) -> tuple[int, int]:
    """Drafts that were compared, and those that differ."""
    chance = random.Random(seed)
    depth, letters = chance.choice([4, 8, 24]), chance.choice([5, 20, 60])
    following = [chance.randrange(letters) for _ in range(letters)]
    library, everybody = SuffixDecodingCache(max_tree_depth=depth, max_cached_requests=1000), Said(depth)
    compared = different = 0
    for request in range(4):
        text = [letters + request, chance.randrange(letters)]
        library.start_request(request, text)
        own = Said(depth)
        own.say(0, text)
        for _ in range(12):
            news = list(accumulate(repeat(text[-1], chance.randrange(2, 6)), lambda last, _: following[last]))[1:]
            library.add_active_response(request, news)
            own.say(0, news)
            everybody.say(request, news)
            text = [*text, *news]
            factor, most = chance.choice([1.0, 2.0]), chance.choice([3, 6, 24])
            theirs = library.speculate(request, text[-depth:], max_spec_tokens=most, max_spec_factor=factor).token_ids
            mine, others = own.draft(text[-depth:], most, factor), everybody.draft(text[-depth:], most, factor)
            compared += 1
            different += (mine if mine[1] >= others[1] else others)[0] != list(theirs)
        library.stop_request(request)
    return compared, different


if __name__ == "__main__":
    counts = [compare(seed) for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 800)]
    print(f"{sum(each for each, _ in counts)} drafts compared, {sum(each for _, each in counts)} differ")
