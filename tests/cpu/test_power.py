"""A few mutants of the real engine, in one start of its servers: those that a case must see are seen."""

from __future__ import annotations

from pathlib import Path

from harness.power.mutant_records import Record
from harness.power.verdicts import Status
from tests.helpers import harness

SEEN = ("drafts_last_wrong", "accepted_counts_bonus", "empty_text_when_busy", "logits_of_neighbour")


def test_what_must_be_seen_is_seen(folder: Path, engine_python: Path) -> None:
    before = sorted(engine_python.parent.iterdir())
    arguments: list[str | Path] = ["--engine-python", engine_python, "--platform", "cpu", "--runs", folder / "runs"]
    done = harness("power", *arguments, "--record", folder / "record", "--mutants", ",".join(SEEN))
    assert done.returncode == 0, done.stdout + done.stderr
    for name in SEEN:
        found = Record.model_validate_json((folder / "record" / f"{name}.json").read_bytes())
        assert found.status is Status.KILLED, found
        assert found.best.confirmed
    assert done.stdout.count("starting its servers") == 1
    assert sorted(engine_python.parent.iterdir()) == before
