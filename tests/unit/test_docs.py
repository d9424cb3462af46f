"""What the documentation shows is true: its case loads, its numbers are computed, its commands exist."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import typer.main

from harness.cases.load import load
from harness.cli import reference
from harness.cli.main import app
from harness.plan.points import everything
from harness.upkeep.generate import outdated
from tests.helpers import BASELINES, REPOSITORY

README = (REPOSITORY / "README.md").read_text()
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


def test_the_case_of_the_readme_loads_and_its_numbers_are_computed(tmp_path: Path) -> None:
    block = re.search(r"<!-- tests/unit/test_docs.py loads this one -->\n```toml\n(.*?)```", README, re.DOTALL)
    assert block
    assert len(block[1].splitlines()) <= 20
    shutil.copy(BASELINES / "_defaults.toml", tmp_path)
    case = tmp_path / "eagle3" / "from_the_readme.toml"
    case.parent.mkdir()
    shutil.copy(BASELINES / "eagle3" / "_suite.toml", case.parent)
    case.write_text(block[1])
    outdated(tmp_path, write=True)
    assert tomlkit.parse(case.read_text()) == tomlkit.parse(block[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_session_it_names_is_on_the_menu(page: Path) -> None:
    menu = (REPOSITORY / "noxfile.py").read_text()
    functions = set(re.findall(r"@nox\.session\ndef (\w+)", menu))
    accept = {each.session for each in everything(load(BASELINES))}
    for named in re.findall(r"nox -s ((?:\w+ ?)+)", page.read_text()):
        assert set(named.split()) - {"tests", "lint"} <= functions | accept


def test_the_examples_of_extending_are_those_that_run() -> None:
    page = (REPOSITORY / "docs" / "extending.md").read_text()
    sources = [path.read_text() for path in (REPOSITORY / "tests" / "extensions").rglob("*") if path.is_file()]
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 6
    assert [block for block in blocks if not any(block in text for text in sources)] == []


def keys(schema: Any) -> Iterator[str]:
    """Every key that a case file may have, at any depth."""
    if isinstance(schema, dict):
        properties = schema.get("properties", {})
        yield from properties
        for each in [*properties.values(), *(each for name, each in schema.items() if name != "properties")]:
            yield from keys(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from keys(each)


def test_every_key_of_a_case_file_has_a_row() -> None:
    page = (REPOSITORY / "docs" / "case-file.md").read_text()
    wanted = set(keys(json.loads((BASELINES / "case.schema.json").read_text())))
    assert {"send_to", "comparisons", "cpu_twin", "load_failure_policy", "device_memory_gib"} <= wanted
    assert {key for key in wanted if f"| `{key}` | " not in page} == set()


def test_a_row_says_type_default_and_meaning() -> None:
    page = (REPOSITORY / "docs" / "case-file.md").read_text()
    rows = [
        "| `title` | text | required | What the case shows, in one line. |",
        "| `prefill` | whole number, from 1 to 64 | *`1`* | Prefill servers, where the kind is disagg. |",
        "| `kind` | `single` or `disagg` | required | One server, or prefill and decode behind a router. |",
        "| `infiniband` | true or false | `false` | Pass the host's /dev/infiniband devices through, where ",
        "| `since` | date | required | Since when: a skip that nobody looks at again is a hole. |",
    ]
    assert [row for row in rows if row not in page] == []


@pytest.mark.parametrize("name", ["case-file.md", "command-line.md"])
def test_every_table_of_a_generated_page_is_whole(name: str) -> None:
    """As a reader of Markdown sees it: a cell too many is dropped, one that is missing is empty."""
    lines = (REPOSITORY / "docs" / name).read_text().splitlines()
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}
    assert widths == {5 if name == "case-file.md" else 3}


def test_every_command_is_on_the_page_of_the_command_line() -> None:
    page = (REPOSITORY / "docs" / "command-line.md").read_text()
    program: Any = typer.main.get_command(app)
    assert page == reference.page(typer.Context(program, info_name="harness"))
    for name, command in program.commands.items():
        assert (f"\n## `harness {name}`\n" in page) is not command.hidden
    assert "| `--runtime <auto\\|local\\|docker>` | " in page
