"""Which tests one worker runs one after the other: those that touch what a machine has one of, and no others."""

from __future__ import annotations

from pathlib import Path

from tests import machine_wide

MODULE = """
import signal

HARD = signal.SIGKILL

@pytest.fixture
def ended(process):
    process.kill()

def end(process):
    os.kill(process.pid, HARD)

def test_of_a_constant():
    assert HARD

def test_of_a_fixture(ended):
    pass

@pytest.mark.usefixtures("ended")
def test_of_a_fixture_by_name():
    pass

def test_of_a_helper():
    twice()

def twice():
    end(1), end(2)

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_of_a_parameter(number):
    pass

def test_of_reaping():
    harness("reap", "--runs", folder)

def test_of_nothing_like_it():
    harness("run")
"""


def alone(folder: Path, source: str) -> list[str]:
    path = folder / "test_some.py"
    path.write_text(source)
    names = [line.split("(")[0].removeprefix("def ") for line in source.splitlines() if line.startswith("def test_")]
    assert names
    return [name.removeprefix("test_of_") for name in names if machine_wide.test_is(path, name)]


def test_a_test_that_kills_or_reaps_however_it_does(tmp_path: Path) -> None:
    assert alone(tmp_path, MODULE) == [
        "a_constant",
        "a_fixture",
        "a_fixture_by_name",
        "a_helper",
        "a_parameter",
        "reaping",
    ]


def test_all_of_a_module_that_has_to_do_with_images(tmp_path: Path) -> None:
    assert alone(tmp_path, "import docker\n\ndef test_of_images():\n    pass\n") == ["images"]
