"""Everything that is generated from something else, and whether it is current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomlkit

from harness.base.domain import Platform
from harness.base.errors import UsageError
from harness.cases.document import editable
from harness.cases.load import DEFAULTS, SUITE, CaseFile, load
from harness.cases.load import files as case_files
from harness.cases.matrix import label
from harness.host import data_files, files
from harness.plan import expected_values
from harness.power.mutant_records import RECORDS as POWER_RECORDS
from harness.reports.result import Result
from harness.upkeep import case_reference, case_schema, power_page, records, seen_on_paper, tables
from harness.upkeep.records import Record

_OUTPUT = Path("docs/evidence/disagg_cpu.txt")
_OVERVIEW = Path("docs/cases.md")
_COMMAND_LINE = Path("docs/command-line.md")
_CASE_FILE = Path("docs/case-file.md")
_IN_FORCE = Path("docs/in-force.md")
_POWER = Path("docs/power.md")
_SCHEMA = "#:schema "
_VERIFIED = Path("docs/evidence/verified.md")


def outdated(cases: Path, *, write: bool, command_line: str = "") -> list[Path]:
    """Generated files that are not current; written if ``write``.

    Args:
        cases: Folder of the case files. Beside a README, the documentation counts too.
        write: Make them current.
        command_line: The page about the command line, which is above this room; empty to leave the file alone.
    """
    stale = []
    for path, content in _generated(cases, command_line):
        if not path.exists() or path.read_text() != content:
            stale.append(path)
            if write:
                files.write(path, content)
    return stale


def unchecked(cases: Path) -> Iterator[str]:
    """Case files whose expected values are left alone because data files are not at hand, each with their names."""
    for case_file in case_files(cases):
        points = [(each, variant) for each in case_file.platforms for variant in case_file.matrix(each).variants()]
        absent = {name for point in points for name in data_files.missing(expected_values.datasets(case_file, *point))}
        if absent:
            names = ", ".join(sorted(absent))
            yield f"{case_file.path}: no {names} at hand; {data_files.DATA_FOLDER} names the folder that has it"


def _generated(cases: Path, command_line: str) -> Iterator[tuple[Path, str]]:
    for case_file in case_files(cases):
        yield case_file.path, _with_expected_values(case_file)
    readme, overview = cases.parent / "README.md", cases.parent / _OVERVIEW
    if readme.is_file():
        found = load(cases)
        recorded = records.read(cases.parent / _VERIFIED.parent / records.RECORDS)
        yield readme, _readme(readme, found, recorded)
        text = overview.read_text()
        yield overview, _replace(overview, text, "cases: generated from the cases", "cases", tables.cases(found))
        yield cases.parent / _VERIFIED, _verified(cases.parent / _VERIFIED, found, recorded)
        yield cases.parent / _CASE_FILE, case_reference.page(cases)
        yield cases.parent / _IN_FORCE, seen_on_paper.page(found)
        yield cases.parent / _POWER, power_page.page(cases.parent / POWER_RECORDS)
        if command_line:
            yield cases.parent / _COMMAND_LINE, command_line
    for kind, (title, schema) in case_schema.BY_FILE.items():
        yield cases / f"{kind}.schema.json", _schema(schema(), title)
    for path in sorted(cases.glob(f"*/{SUITE}")):
        yield path, _with_schema(path.read_text(), "../suite.schema.json")
    if (defaults := cases / DEFAULTS).is_file():
        yield defaults, _with_schema(defaults.read_text(), "defaults.schema.json")
    yield cases / "result.schema.json", _schema(Result.model_json_schema(), "result.json")


def _with_expected_values(case_file: CaseFile) -> str:
    """The case file with the numbers of its known-answer checks filled in; comments and layout stay."""
    document = editable(case_file.path)
    checks = document.get("checks", {})
    for platform in case_file.platforms:
        for name, values in _expected(case_file, platform).items():
            if name in checks:
                for key, value in values.items():
                    checks[name][key] = value
    return _with_schema(tomlkit.dumps(document), "../case.schema.json")


def _with_schema(text: str, schema: str) -> str:
    """A TOML file that says first by which schema editors check it (taplo, and what uses it)."""
    first, *others = text.splitlines(keepends=True) or [""]
    return f"{_SCHEMA}{schema}\n" + "".join(others if first.startswith(_SCHEMA) else [first, *others])


def _expected(case_file: CaseFile, platform: Platform) -> dict[str, dict[str, Any]]:
    """Expected values of all variants, which must agree: one file holds one number a check.

    Empty if a data file that they need is not at hand: see :func:`unchecked`.
    """
    found: list[dict[str, dict[str, Any]]] = []
    for variant in case_file.matrix(platform).variants():
        needed = expected_values.datasets(case_file, platform, variant)
        if data_files.missing(needed):
            return {}
        try:
            found.append(expected_values.expected_values(case_file, platform, variant, data_files.texts(needed)))
        except UsageError:
            raise
        except Exception:  # whatever a case that is not valid yet lacks
            case_file.resolve(platform, variant)  # says it with file and key
            raise
        if found[-1] != found[0]:
            raise UsageError(f"{case_file.path}: matrix: {label(variant)} has other expected values: make it a file")
    return found[0]


def _readme(path: Path, found: list[CaseFile], recorded: list[Record]) -> str:
    """The README with its tables of sessions and of what was run on what, and the output of a recorded run."""
    text = _replace(path, path.read_text(), "sessions: generated from the cases", "sessions", tables.sessions(found))
    systems = records.systems(found, recorded)
    text = _replace(path, text, "systems: generated from the recorded runs", "systems", systems)
    output = (path.parent / _OUTPUT).read_text().rstrip()
    return _replace(path, text, f"output: generated from {_OUTPUT}", "output", f"```text\n{output}\n```")


def _verified(path: Path, found: list[CaseFile], recorded: list[Record]) -> str:
    """Every recorded run."""
    return _replace(
        path, path.read_text(), "runs: generated from the recorded runs", "runs", records.runs(found, recorded)
    )


def _replace(path: Path, text: str, begin: str, name: str, content: str) -> str:
    """What stands between two HTML comments, replaced."""
    head, _, rest = text.partition(f"<!-- {begin} -->\n")
    _, end, tail = rest.partition(f"<!-- end of {name} -->")
    if not end:
        raise UsageError(f"{path}: the comments around the {name} are gone: <!-- {begin} --> <!-- end of {name} -->")
    return f"{head}<!-- {begin} -->\n{content}\n{end}{tail}"


def _schema(schema: dict[str, object], title: str) -> str:
    return json.dumps({**schema, "title": title}, indent=2) + "\n"
