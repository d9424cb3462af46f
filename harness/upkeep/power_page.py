"""The page about power: every mutant, what became of it, and the score, made from the registry and the records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine_mutants.every_mutant import ALL
from engine_mutants.mutant import Mutant
from harness.base.domain import PLATFORMS, Platform
from harness.power import mutant_tables
from harness.power.mutant_records import Record, latest
from harness.upkeep.tables import table

_HEAD = """\
# Power: engines broken on purpose

<!-- written by `harness generate` from engine_mutants and docs/evidence/power; change the text there -->

These tests promise that a broken engine turns red. This page says how far that was seen to be true. A *mutant* is the
engine with one thing broken, in the way of a bug that was published: the column *after* names its report. Each mutant
names the cases that should see it and the checks that must turn red.

    ./nox -s power -- --engine-python ~/vllm/bin/python
    ./nox -s power -- --engine-python ~/vllm/bin/python --mutants 'kv_*,drafts_tenth_wrong' --budget 900
    CUDA_VISIBLE_DEVICES=0 harness power 'eagle3/*' --platform cuda --checkpoints tiny --engine-python ~/vllm/bin/python

The environment of the engine is used and not changed: another one is laid over it, in which the engine's modules are
broken when they are imported. The servers of a case are started once. The unbroken engine has to be green first; then
one mutant after the other is switched on, everything is asked and judged, and it is switched off again; at the end the
unbroken engine has to be green again. A mutant that leaves something behind is the last one of its servers, and one
that cannot be switched gets a whole run. What is confirmed in a record is not run again: a run that was broken off, or
whose `--budget` was spent, goes on with the same command. Runs beside each other, on other devices, each want cases and
a `--record` of their own. `harness generate` makes this page of the records.

What the states mean:

| state | meaning |
| --- | --- |
| killed | a check turned red that the mutant names |
| killed by another check | another check turned red: the fault was seen, and the message may not say where to look |
| not seen | the broken code ran, and everything was green: this is a hole in the tests |
| never reached | the broken code never ran: no case comes by there |
| cannot be on this platform | the code is not there on that platform, such as CUDA graphs on a CPU |
| target gone in this version | the mutant does not fit the engine, so it says nothing |
| red though never reached | something else was wrong, so it says nothing |
| not run | nobody has run it yet |

*Hits* count how often the broken code ran, at least, by server. The score is the share of killed mutants among those
that were judged: those that say nothing, or were not run, are not in it. It is a number about these mutants. Another
bug of the same kind may still pass, and a mutant that somebody thought of is easier to see than one that nobody did.
"""


def page(root: Path) -> str:
    """The page.

    Args:
        root: Folder of the folders of records.

    Raises:
        UsageError: A record cannot be read.
    """
    found = latest(root)
    parts = [_HEAD]
    for platform in PLATFORMS:
        of_platform = {name: record for (name, where), (_, record) in found.items() if where == platform}
        if of_platform or platform == "cpu":
            parts += _of_platform(platform, of_platform)
    parts += _unseen(found)
    return "\n".join(parts)


def _of_platform(platform: Platform, found: Mapping[str, Record]) -> list[str]:
    text = [f"## On {platform}\n", f"{mutant_tables.score(found.values())}.\n"]
    if found:
        engines = ", ".join(sorted({each.engine for each in found.values()}))
        dates = sorted(each.date[:10] for each in found.values())
        hosts = sorted({_host(each) for each in found.values()})
        when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        text.append(f"{engines}, {when}, on {' and '.join(hosts)}.\n")
    for kind in dict.fromkeys(each.kind for each in ALL):
        mutants = [each for each in ALL if each.kind == kind]
        text += [f"### {kind[0].upper()}{kind[1:]}\n", table(mutant_tables.rows(mutants, found, platform)), ""]
    return text


def _host(record: Record) -> str:
    devices = record.host.get("devices", "")
    return devices or f"{record.host.get('cpus', '?')} cores, {record.host.get('memory_gib', '?')} GiB"


def _unseen(found: Mapping[tuple[str, str], tuple[str, Record]]) -> list[str]:
    """Mutants that nothing kills, each with its reason."""
    killed = {name for (name, _), (_, record) in found.items() if record.status.is_killed}
    left = [each for each in ALL if each.unseen and each.name not in killed]
    text = f"Of {len(ALL)} mutants {len(killed)} were killed somewhere. Of these it is known why nothing kills them:\n"
    return ["## What nothing sees yet\n", text, table([["mutant", "why nothing sees it"], *map(_reason, left)]), ""]


def _reason(mutant: Mutant) -> list[str]:
    return [f"`{mutant.name}`", mutant.unseen]
