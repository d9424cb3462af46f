"""Loading bundles with nothing but Python: damage, interruption, loading twice, and what must not get out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import virtualenv

from harness.bundle import reader, writer
from harness.bundle.manifest import ENGINE_REQUIREMENTS, HARNESS_REQUIREMENTS
from harness.bundle.writer import Content
from harness.images.requirements import of_wheels
from tests.helpers import harness, wait_for

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
MODEL = "hub/models--some--model/snapshots/0123456789abcdef0123456789abcdef01234567/config.json"


def wheel(answer: str) -> bytes:
    """A wheel in the harness's place whose command prints a word, and which takes a while to install."""
    files = {f"stand_in/module{number}.py": f"x = {number}\n" * 300 for number in range(200)}
    files["stand_in/__init__.py"] = f"def main():\n    print({answer!r})\n"
    info = "stand_in-1.dist-info"
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: stand-in\nVersion: 1\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = "[console_scripts]\nharness = stand_in:main\n"
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def bundle(
    out: Path, answer: str = "one", part_size: int | None = None, more: Sequence[Content] = (), **about: Any
) -> Path:
    """A small bundle; images and an engine are in it if they are among ``more``."""
    made = wheel(answer)
    name = "stand_in-1-py3-none-any.whl"
    pip = max((Path(virtualenv.__file__).parent / "seed" / "wheels" / "embed").glob("pip-*.whl"))
    contents = [
        writer.bootstrap(),
        Content("baselines/_defaults.toml", "case", f"# {answer}\n".encode()),
        Content("data/questions.jsonl", "data", answer.encode()),
        Content("checkpoints/target-0123/config.json", "checkpoint", b"{}"),
        Content(MODEL, "model", answer.encode()),
        Content(f"wheels/{name}", "wheel", made),
        Content(HARNESS_REQUIREMENTS, "requirements", of_wheels({name: hashlib.sha256(made).hexdigest()}).encode()),
        Content(f"installer/{pip.name}", "installer", pip),
        *more,
    ]
    manifest = writer.made(
        contents,
        {
            "created": "2026-01-01T00:00:00+00:00",
            "version": "0",
            "revision": "unknown",
            "platform": "cpu",
            "python": HERE,
            "machine": platform.machine(),
            "cases": (),
            "checkpoints": "",
            "left_out": {},
            "images": {},
            "installed_bytes": 1000,
        }
        | about,
    )
    writer.write(out, manifest, contents, date=0, part_size=part_size)
    return out


def standalone(bundle: Path, *arguments: str | Path) -> list[str]:
    """The bundle's own program, in a Python that sees no package of anybody's."""
    interpreter = os.path.realpath(sys.executable)
    return [interpreter, "-I", "-S", str(bundle / "bundle.pyz"), *map(str, arguments)]


def call(bundle: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(standalone(bundle, *arguments), capture_output=True, text=True, check=False)


def answers(into: Path) -> str:
    """What the loaded program says in a shell that sourced env.sh."""
    script = '. "$1"/env.sh; harness; cat "$HARNESS_DATA_DIR"/questions.jsonl'
    done = subprocess.run(["sh", "-c", script, "sh", into], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("part_size", [None, 100_000])
def test_a_bundle_is_loaded_whole_and_twice(tmp_path: Path, part_size: int | None) -> None:
    made = bundle(tmp_path / "bundle", part_size=part_size)
    assert call(made, "verify").returncode == 0
    into = tmp_path / "a folder"
    done = call(made, "load", "--into", into)
    assert done.returncode == 0, done.stderr
    assert answers(into) == "one\none"
    assert (into / "baselines" / "_defaults.toml").read_text() == "# one\n"
    assert (into / "huggingface" / MODEL).read_text() == "one"
    assert (into / "cache" / "inference-harness" / "checkpoints" / "target-0123" / "config.json").read_text() == "{}"
    before = (into / "current").readlink()
    (into / "huggingface" / MODEL).unlink()
    again = harness("bundle", "load", made, "--into", into)
    assert again.returncode == 0, again.stderr
    assert "holds this bundle already" in again.stdout
    assert (into / "current").readlink() == before
    assert (into / "huggingface" / MODEL).read_text() == "one"  # what was lost is put back
    assert not list(into.glob(".parts.*"))


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for part_size in (None, 100_000):
        first, second = (bundle(tmp_path / f"{name}-{part_size}", part_size=part_size) for name in "ab")
        names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
        assert len(names) > 5
        assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
        assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_every_damage_to_plain_files_is_a_line(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle")
    (made / "data" / "questions.jsonl").write_text("eno")
    (made / "baselines" / "_defaults.toml").write_text("")
    (made / "checkpoints" / "target-0123" / "config.json").unlink()
    (made / "extra").write_text("")
    (made / MODEL).unlink()
    (made / MODEL).symlink_to("/etc/hostname")
    done = call(made, "verify")
    assert done.returncode == 2
    found = sorted(line.partition(": ")[0] for line in done.stdout.splitlines())
    assert found == sorted(
        ["baselines/_defaults.toml", "checkpoints/target-0123/config.json", "data/questions.jsonl", "extra", MODEL]
    )
    assert done.stderr == f"bundle: {made}: 5 of the bundle's files are wrong; copy it again\n"
    into = tmp_path / "into"
    assert call(made, "load", "--into", into).returncode == 2
    assert not into.exists()


def test_parts_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", part_size=100_000)
    (made / "part.002").unlink()
    with (made / "part.001").open("r+b") as file:
        file.write(b"x")
    done = harness("bundle", "verify", made)
    assert done.returncode == 2
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == ["part.001", "part.002"]


@pytest.mark.parametrize("name", ["../outside", "data/link", "/absolute"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    """Members of the archive that no manifest names, and one that is a link, with all sums made right."""
    made = bundle(tmp_path / "bundle", part_size=1 << 30)
    with tarfile.open(made / "part.000") as archive:
        members = [(each, (archive.extractfile(each) or io.BytesIO()).read()) for each in archive]
    with tarfile.open(made / "part.000", "w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
        evil = tarfile.TarInfo(name)
        if name == "data/link":
            evil.type, evil.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(evil)
    listed = json.loads((made / "parts.json").read_text())
    content = (made / "part.000").read_bytes()
    listed[0] |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (made / "parts.json").write_text(json.dumps(listed))
    done = call(made, "load", "--into", tmp_path / "deep" / "into")
    assert done.returncode == 2
    assert f"{name!r}: not in the manifest" in done.stdout
    assert not list(tmp_path.rglob("outside"))
    assert not (tmp_path / "deep").exists()


def test_a_list_of_parts_that_leads_out_is_refused(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", part_size=1 << 30)
    listed = json.loads((made / "parts.json").read_text())
    listed[0]["path"] = "../secret"
    (made / "parts.json").write_text(json.dumps(listed))
    done = call(made, "verify")
    assert done.returncode == 2
    assert "path '../secret' leads out of the bundle" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_load_leaves_what_was_there(tmp_path: Path, number: signal.Signals) -> None:
    into = tmp_path / "into"
    assert call(bundle(tmp_path / "old", "old"), "load", "--into", into).returncode == 0
    made = bundle(tmp_path / "new", "new", part_size=100_000)
    process = subprocess.Popen(standalone(made, "load", "--into", into), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    while "installing" not in process.stdout.readline():
        pass
    child = wait_for(lambda: psutil.Process(process.pid).children())[0]
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (-9 if number is signal.SIGKILL else 130)
    assert answers(into) == "old\nold"
    if number is not signal.SIGKILL:
        child.wait(timeout=10)  # dead with its parent; it is gone once it is reaped
        assert len(list((into / "loads").iterdir())) == 1
        assert not list(into.glob(".parts.*"))
    # What a killed one leaves, the next one removes.
    done = call(made, "load", "--into", into)
    assert done.returncode == 0, done.stderr
    assert answers(into) == "new\nnew"
    assert "the load before is still in" in done.stdout
    child.wait(timeout=30)
    assert len(list((into / "loads").iterdir())) == 2
    assert not list(into.glob(".parts.*"))


def test_the_engine_sees_the_packages_that_are_there(tmp_path: Path) -> None:
    made, name = wheel("engine"), "stand_in-1-py3-none-any.whl"
    lock = of_wheels({name: hashlib.sha256(made).hexdigest()}).encode()
    engine = [
        Content(f"engine-wheels/{name}", "engine-wheel", made),
        Content(ENGINE_REQUIREMENTS, "requirements", lock),
    ]
    load: list[str | Path] = ["load", "--into", tmp_path / "into", "--engine-packages-of"]
    with_engine = bundle(tmp_path / "bundle", more=engine)
    done = call(with_engine, *load, "/nonexistent")
    assert done.returncode == 2
    assert "--engine-packages-of /nonexistent: cannot be run as a Python interpreter" in done.stderr
    done = call(with_engine, *load, sys.executable)
    assert done.returncode == 0, done.stderr
    program = "import stand_in, psutil; stand_in.main()"  # psutil is a package of ours
    argv = [str(tmp_path / "into" / "current" / "engine" / "bin" / "python"), "-c", program]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "engine\n"


def test_images_are_loaded_and_must_be_what_they_were(tmp_path: Path) -> None:
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" != image ] || cat {tmp_path}/id\n')
    client.chmod(0o755)
    image = [Content("images/x.tar", "image", b"layers")]
    made = bundle(tmp_path / "bundle", more=image, images={"x:1": "sha256:right"})
    env = {"PATH": f"{client.parent}:{os.environ['PATH']}"}
    load: list[str | Path] = ["bundle", "load", made, "--into", tmp_path / "into"]
    (tmp_path / "id").write_text("sha256:wrong\n")
    done = harness(*load, env=env)
    assert done.returncode == 4
    assert "image x:1 is sha256:wrong after loading, expected sha256:right" in done.stderr
    assert list((tmp_path / "into" / "loads").iterdir()) == []
    (tmp_path / "id").write_text("sha256:right\n")
    done = harness(*load, env=env)
    assert done.returncode == 0, done.stderr
    assert f"load --quiet --input {made}/images/x.tar" in (tmp_path / "calls").read_text()
    client.write_text("#!/bin/sh\nexit 1\n")
    load[-1] = tmp_path / "other"
    done = harness(*load, env=env)
    assert done.returncode == 4
    assert "no container engine answers here; leave them with --no-images" in done.stderr
    assert not (tmp_path / "other").exists()
    assert harness(*load, "--no-images", env=env).returncode == 0


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    other = bundle(tmp_path / "other", python="3.99")
    done = call(other, "load", "--into", tmp_path / "into")
    assert done.returncode == 2
    assert f"the bundle is for Python 3.99 on {platform.machine()}, this is Python {HERE}" in done.stderr
    huge = bundle(tmp_path / "huge", installed_bytes=1 << 60)
    done = call(huge, "load", "--into", tmp_path / "into")
    assert done.returncode == 4
    assert "MiB are needed" in done.stderr
    assert not (tmp_path / "into").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "baselines").write_text("precious")
    done = call(bundle(tmp_path / "good"), "load", "--into", mine)
    assert done.returncode == 2
    assert "must be a new or empty folder" in done.stderr
    assert [path.name for path in mine.iterdir()] == ["baselines"]
    done = harness("bundle", "verify", mine)
    assert done.returncode == 2
    assert "no bundle here" in done.stderr


def test_a_wheel_that_pip_refuses_leaves_nothing(tmp_path: Path) -> None:
    """Sums are right, and the wheel is for another Python: pip's own words, and the folder is as before."""
    made = bundle(tmp_path / "bundle")
    text = (made / HARNESS_REQUIREMENTS).read_text().replace("stand-in==1", "stand-in==2")
    (made / HARNESS_REQUIREMENTS).write_text(text)
    document = json.loads((made / "manifest.json").read_text())
    for entry in document["files"]:
        if entry["path"] == HARNESS_REQUIREMENTS:
            entry["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (made / "manifest.json").write_text(json.dumps(document))
    done = call(made, "load", "--into", tmp_path / "into")
    assert done.returncode == 4
    assert "requirements/harness.txt could not be installed: ERROR" in done.stderr
    assert list((tmp_path / "into" / "loads").iterdir()) == []


def test_the_reader_of_parts_reads_across_them(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", part_size=10_007)
    assert len(list(made.glob("part.*"))) > 100
    assert list(reader.at(made).problems()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--part-size", "48"], "--part-size 48: must be like 48MiB"),
        (["--python", "4"], "--python 4: must be like 3.12"),
        (["--wheels", "nowhere"], "--wheels nowhere: no folder with wheels"),
    ],
)
def test_wrong_orders_are_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = harness("bundle", "make", tmp_path / "out", "eagle3/known_answer", "--platform", "cpu", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
