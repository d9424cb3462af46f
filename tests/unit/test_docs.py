"""What the documentation shows is true: its case loads, its numbers are computed, its commands exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import tomlkit

from harness.cases.load import load
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
