"""Whose fault a red row is: the classes, how each is recognised, and what somebody does about it.

A row that says whose fault it is is believed. Of others the words decide, from what is told most plainly to what is
told least, and what nobody recognises is the engine's: that is what is being tested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.base.domain import Outcome

PAGE = "docs/reading-a-verdict.md"


@dataclass(frozen=True)
class FaultClass:
    """One class.

    Attributes:
        name: In one word.
        meaning: What it is that broke, in one sentence.
        step: What to do next, in one sentence.
        words: Of a cause that belongs to it; None for the one that is left.
    """

    name: str
    meaning: str
    step: str
    words: re.Pattern[str] | None

    @property
    def page(self) -> str:
        """Where the documentation is about it."""
        return f"{PAGE}#{self.name}"


def _words(*parts: str) -> re.Pattern[str]:
    return re.compile("|".join(parts), re.IGNORECASE)


HARNESS = FaultClass(
    "harness",
    "The harness itself broke, or the record of the run is damaged.",
    "Report it with the run directory; run the point again in a new folder.",
    _words(r"^internal error:", r"damaged, or written by another version", r"began and never ended", r"no verdict"),
)
DEVICE = FaultClass(
    "device",
    "An accelerator is missing, taken, full or faulty.",
    "Look with `harness doctor`, and at who uses the device; then run the point again.",
    _words(
        r"(?:cuda|hip)(?: error)?:? out of memory|outofmemoryerror",
        r"no (?:cuda-capable|hip|gpu|accelerator)|nvml|uncorrectable|\bxid\b|ecc error|fallen off the bus",
        r"(?:cuda|nvidia) driver|driver version is insufficient|invalid device ordinal",
        r"devices? (?:is|are) (?:taken|busy)|accelerators? (?:is|are) free|failed to infer device type",
    ),
)
NETWORK = FaultClass(
    "network",
    "Something that has to come from elsewhere did not: a model, a wheel, an image, a peer on another host.",
    "Look with `harness doctor` what this host reaches; `harness bundle` takes everything to one without a network.",
    _words(
        r"name resolution|name or service not known|max retries exceeded|network is unreachable|no route to host",
        r"certificate verify|ssl:|proxy|offline mode|couldn't connect to|gated repo|gatedrepoerror",
        r"\b(?:401|403|404|429|502|503) client error|registry|pull access denied",
    ),
)
HOST = FaultClass(
    "host",
    "The machine did not give what a run needs: disk, memory, a port, rights, a container engine; or it ended the run.",
    "Mend what the line names, then run the point again; `harness reap` ends what an earlier run left.",
    _words(
        r"no space left|address already in use|errno (?:98|28|12|13|24)\b|permission denied|too many open files",
        r"cannot allocate memory|killed by sig|\bkilled\b|oom[- ]kill|sigkill|read-only file system|interrupted by",
        r"the operating system refused|disk quota|docker daemon|container engine|ports? (?:is|are) taken",
    ),
)
CONFIGURATION = FaultClass(
    "configuration",
    "What the case or the command line asks for, this build or this model cannot do.",
    "Change the case, the option or the model that the line names; `harness show CASE` prints what is asked.",
    _words(
        r"error: (?:argument|unrecognized|the following|invalid|no such option)|validation errors? for|no such option",
        r"does not know|unknown (?:option|flag|argument|quantization|variable)|not a valid|invalid choice|did you mean",
        r"(?:is|are) not supported|unsupported|must be (?:divisible|one of|positive|greater|less|at least|a multiple)",
        r"max_model_len|max seq(?:uence)? len|cache blocks|kv cache is needed|not enough memory\. please",
        r"can't load|cannot find|no such file|not found in|does not (?:exist|appear)|filenotfounderror|repo id must",
        r"no module named|model folder|user-specified|ended with status 2\b|should be (?:greater|less|one of)",
        r"cannot be (?:negative|zero|used)|less than or equal|greater than or equal|incompatible",
    ),
)
ENGINE = FaultClass(
    "engine",
    "The engine crashed, hung, or answered or counted otherwise than it must.",
    "Start the server by hand as the run did, and report it to whoever made the build.",
    None,
)

CLASSES = (HARNESS, DEVICE, NETWORK, HOST, CONFIGURATION, ENGINE)
"""In the order in which their words are looked for."""

_BY_NAME = {each.name: each for each in CLASSES}


def classify(row: str, outcome: Outcome, text: str, fault: str = "") -> FaultClass:
    """The class of a red row.

    Args:
        row: Name of the stage or check.
        outcome: How it ended.
        text: What it says.
        fault: Whose it is, as the row says itself; empty if it does not.
    """
    if fault in _BY_NAME:
        return _BY_NAME[fault]
    if row == "evidence":
        return HARNESS
    if outcome is Outcome.FAIL:
        return ENGINE  # it was asked, and what came back was judged
    return next((each for each in CLASSES if each.words and each.words.search(text)), ENGINE)
