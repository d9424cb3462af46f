"""Why an image could not be built, from what the builder printed."""

from __future__ import annotations

import re

from harness.base.texts import shortened, without_sequences
from harness.logs.phrases import EXCEPTION

_SAYS_ERROR = re.compile(r"^(?:E: |ERROR:|error:|fatal:|\s*\u00d7 )|: error: |\berror\b:", re.IGNORECASE)
_STEP_NAMED = 120
_STEP = re.compile(r"^#(\d+) (.*)$")
_OUTPUT = re.compile(r"^(\d+\.\d+) ?(.*)$")
_STEP_ENDED = re.compile(
    r"^(?:process|executor failed running) (.*?)(?: did not complete successfully)?: exit code: (\d+)$"
)
_NO_WORDS = re.compile(r"^(?:\[notice\]|WARNING:|debconf:|Selecting previously|\+ )")
_SAID_LINES = 3


def build_cause(output: str) -> str:
    """Why a build ended, from what BuildKit printed with plain progress: what the step that failed said last itself.

    Empty if no step failed. Source: outputs of Docker 20.10 (``executor failed running [...]: exit code: 1``) and of
    buildx 0.8 to 0.23 (``process "..." did not complete successfully: exit code: 1``).
    """
    steps: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    failed, error = "", ""
    for line in output.splitlines():
        if not (found := _STEP.match(line)):
            continue
        number, said = found.groups()
        if said.startswith("ERROR: "):
            failed, error = number, said.removeprefix("ERROR: ").strip()
        elif written := _OUTPUT.match(said):
            steps.setdefault(number, []).append(written[2])
        elif said.startswith("["):
            names[number] = said
    ended = _STEP_ENDED.match(error)
    if not failed or not ended:
        return error  # of the builder itself: an image that is not there, a file that is missing
    where = f"{' '.join(names.get(failed, 'a step').split())} ended with status {ended[2]}"
    said = _last_words(steps.get(failed, []))
    return f"{said} ({shortened(where, _STEP_NAMED)})" if said else shortened(where, _STEP_NAMED)


def _last_words(lines: list[str]) -> str:
    """The error that a step's output ends with; without one its last lines."""
    told = [line.rstrip() for line in map(without_sequences, lines) if line.strip() and not _NO_WORDS.match(line)]
    for position in reversed(range(len(told))):
        if EXCEPTION.search(told[position]) or _SAYS_ERROR.search(told[position]):
            return "; ".join(" ".join(line.split()) for line in told[position : position + _SAID_LINES])
    return "; ".join(" ".join(line.split()) for line in told[-_SAID_LINES:])
