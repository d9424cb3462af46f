"""Bundles: whatever became of one, it is refused in lines, and nothing of it is written."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.bundle import reader, writer
from harness.bundle.manifest import HARNESS_REQUIREMENTS, Manifest
from harness.bundle.writer import Content
from tests.fuzz import damage, ends, examples
from tests.fuzz.program import harness
from tests.unit.test_bundle import MANIFEST

CONTENTS = [
    writer.bootstrap(),
    Content("baselines/_defaults.toml", "case", b"# nothing\n"),
    Content("data/questions.jsonl", "data", b"one"),
    Content("checkpoints/target-0123/config.json", "checkpoint", b"{}"),
    Content(HARNESS_REQUIREMENTS, "requirements", b""),
    Content("installer/pip-1-py3-none-any.whl", "installer", b"none"),
]


def manifest() -> Manifest:
    about = {name: value for name, value in vars(MANIFEST).items() if name != "files"}
    return writer.made(CONTENTS, {**about, "installed_bytes": 0})


def refused(path: Path, *, load: bool = True) -> None:
    """Both commands refuse the bundle, and leave nothing."""
    answer = harness(["bundle", "verify", str(path)])
    assert answer.is_a_refusal(), answer
    if load:
        into = path.parent / "deep" / "into"
        answer = harness(["bundle", "load", str(path), "--into", str(into)])
        too_large = answer.code == 4 and "MiB are needed" in answer.stderr  # nobody knows yet that it is a lie
        assert answer.is_a_refusal() or too_large, answer
        assert not into.parent.exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two bundles in which nothing is wrong."""
    folder = tmp_path_factory.mktemp("whole")
    for name, part_size in (("files", None), ("parts", 5_000)):
        writer.write(folder / name, manifest(), CONTENTS, date=0, part_size=part_size)
        assert harness(["bundle", "verify", str(folder / name)]).code == 0
    return {name: folder / name for name in ("files", "parts")}


@given(st.data())
@examples(40)
def test_damage_to_files_is_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, Path], data: st.DataObject
) -> None:
    made = tmp_path_factory.mktemp("bundle") / "made"
    shutil.copytree(whole[data.draw(st.sampled_from(sorted(whole)))], made)
    path = data.draw(st.sampled_from(sorted(each for each in made.rglob("*") if each.is_file())))
    before = path.read_bytes()
    damage.of_file(path, data.draw)
    if path.is_file() and path.read_bytes() == before:
        return
    answer = harness(["bundle", "verify", str(made)])
    assert "Traceback" not in answer.stderr, answer
    if path.name in ("manifest.json", "parts.json") and answer.code == 0:
        return  # it says something else, and all of it is there
    refused(made)


@st.composite
def members(draw: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A file of an archive that is none of ours."""
    kinds = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
    names = ["../outside", "/absolute", "data/questions.jsonl", "data/QUESTIONS.jsonl", "x", "manifest.json", "a" * 300]
    member = tarfile.TarInfo(draw(st.sampled_from(names)))
    member.type, member.linkname = draw(st.sampled_from(kinds)), "/etc/passwd"
    content = draw(st.binary(max_size=20)) if member.type == tarfile.REGTYPE else b""
    member.size = len(content)
    if draw(st.booleans()):
        member.pax_headers = {
            draw(st.sampled_from(["comment", "GNU.sparse.map", "path"])): "x" * draw(st.integers(0, 40))
        }
    return member, content


def archive(folder: Path, files: list[tuple[tarfile.TarInfo, bytes]], packed: bytes | None = None) -> Path:
    """A bundle in one part whose sums are right, whatever the archive holds."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar:
        for member, content in files:
            tar.addfile(member, io.BytesIO(content))
    content = packed if packed is not None else buffer.getvalue()
    folder.mkdir(parents=True)
    (folder / "part.000").write_bytes(content)
    part = {"path": "part.000", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "parts.json").write_text(json.dumps([part]))
    return folder


def ours(said: Manifest) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The files of a bundle as they should be, below a manifest that may say otherwise."""
    files = [("manifest.json", said.render())]
    for each in sorted(CONTENTS, key=lambda each: each.path):
        with each.open() as source:
            files.append((each.path, source.read()))
    found = []
    for name, content in files:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        found.append((member, content))
    return found


@given(st.lists(members(), min_size=1, max_size=3), st.data())
@examples(40)
def test_members_that_no_manifest_names_are_refused(
    tmp_path_factory: pytest.TempPathFactory, others: list[tuple[tarfile.TarInfo, bytes]], data: st.DataObject
) -> None:
    files = ours(manifest())
    for other in others:
        files.insert(data.draw(st.integers(0, len(files))), other)
    with ends():
        refused(archive(tmp_path_factory.mktemp("bundle") / "made", files))


@given(st.integers(0, len(CONTENTS) - 1), st.data())
@examples(40)
def test_a_manifest_that_lies_is_refused(
    tmp_path_factory: pytest.TempPathFactory, index: int, data: st.DataObject
) -> None:
    said = manifest()
    key, value = data.draw(st.tuples(st.sampled_from(["path", "kind", "size", "sha256"]), damage.VALUES))
    entry = {**asdict(said.files[index]), key: value}
    assume(entry != asdict(said.files[index]))  # then it is no lie
    document = json.loads(said.render())
    document["files"][index] = entry
    content = json.dumps(document).encode()
    files = ours(said)
    files[0][0].size = len(content)
    refused(archive(tmp_path_factory.mktemp("bundle") / "made", [(files[0][0], content), *files[1:]]))


def test_no_lie_about_a_size_is_written_first(tmp_path: Path) -> None:
    """Three bytes that are a gigabyte, and one that goes on where the archive should have ended."""
    said = manifest()
    files = ours(said)
    large = tarfile.TarInfo("data/questions.jsonl")
    large.size = 64 << 20
    files = [(member, content) for member, content in files if member.name != large.name]
    made = archive(tmp_path / "large", [*files, (large, bytes(large.size))])
    written: list[int] = []
    bundle = reader.at(made)
    assert isinstance(bundle, reader.Parts)

    class Counting(io.BytesIO):
        def write(self, data: Any) -> int:
            written.append(len(data))
            return len(data)

    problems = list(bundle.contents(lambda _: Counting()))
    assert problems == [f"data/questions.jsonl: {64 << 20} bytes in the archive, expected 3"]
    assert sum(written) < 1 << 20
    refused(made)
    header = tarfile.TarInfo("x")
    header.pax_headers = {"comment": "x" * (8 << 20)}
    refused(archive(tmp_path / "headers", [*files[:1], (header, b""), *files[1:]]))
