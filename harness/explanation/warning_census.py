"""``harness warnings``: what engines warn of in runs that passed, and what of it is called benign from here on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from harness.base.domain import Outcome
from harness.base.errors import NothingSelected, UsageError
from harness.base.texts import shortened
from harness.host import files
from harness.logs import log_warnings
from harness.reports.result import Result
from harness.run import new_warnings
from harness.run.rundir import RunDir

KEPT = Path(log_warnings.__file__).parent / "benign"


def census(runs: Path, *, accept: bool = False, kept: Path = KEPT) -> str:
    """Every new warning of each engine, with the number of runs that have it; ``accept`` adds them to what is benign.

    Raises:
        UsageError: The list cannot be written.
        NothingSelected: No run below ``runs`` passed.
    """
    passed, found, unread = Counter[str](), dict[str, Counter[str]](), list[str]()
    for folder in sorted({path.parent for path in runs.glob("**/result.json")}):
        rundir = RunDir(folder)
        try:
            result = rundir.read("result", Result)
            if result is None or result.outcome is not Outcome.PASS or not rundir.case_file.is_file():
                continue
            engine = rundir.prepared().case.engine.name
            said = new_warnings.of_run(rundir, everything=True)
        except UsageError as error:
            unread.append(f"not read: {error}")
            continue
        passed[engine] += 1
        found.setdefault(engine, Counter()).update(said.keys())
    if not passed:
        raise NothingSelected(f"{runs}: no run there that passed; its warnings are looked at only then")
    lines = unread
    for engine in sorted(passed):
        path = kept / f"{engine}.txt"
        known = set(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else set()
        new = {text: times for text, times in found[engine].items() if text not in known}
        lines.append(f"{engine}: {len(new)} new of {len(found[engine])} warnings in {passed[engine]} runs that passed")
        lines += [f"  {times} of {passed[engine]}: {shortened(text, 400)}" for text, times in sorted(new.items())]
        if accept and new:
            _keep(path, known | new.keys())
            lines.append(f"  called benign: {path}")
    return "\n".join(lines) + "\n"


def _keep(path: Path, texts: set[str]) -> None:
    try:
        files.write(path, "".join(f"{text}\n" for text in sorted(texts)))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; accept warnings in a checkout of the harness") from None
