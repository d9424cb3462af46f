"""Two builds compared, on layers made for it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace

import pytest

from harness.containers import image_archives
from harness.containers.image_archives import Entry
from harness.containers.image_store import Image
from harness.images import rebuild

FILE = Entry("file", 0o644, (0, 0), 315532800, "", "ab" * 32)
FOLDER = Entry("folder", 0o755, (0, 0), 315532800)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (replace(FILE, kind="hard link"), "type file, then hard link"),
        (replace(FILE, mode=0o755), "mode 0644, then 0755"),
        (replace(FILE, owner=(2000, 0)), "owner 0:0, then 2000:0"),
        (replace(FILE, mtime=315532801), "mtime 1980-01-01T00:00:00+00:00, then 1980-01-01T00:00:01+00:00"),
        (replace(FILE, link="b"), "link none, then b"),
        (replace(FILE, sha256="cd" * 32), "content abababababab, then cdcdcdcdcdcd"),
        (replace(FILE, mode=0o600, owner=(1, 1)), "mode 0644, then 0600; owner 0:0, then 1:1"),
    ],
)
def test_each_kind_of_difference_is_named(changed: Entry, line: str) -> None:
    same = {"opt": FOLDER}
    assert list(rebuild.differences({**same, "opt/a": FILE}, {**same, "opt/a": changed})) == [f"opt/a: {line}"]


def test_a_file_of_one_build_alone_is_a_difference() -> None:
    assert list(rebuild.differences({"a": FILE}, {"b": FILE})) == [
        "a: only in the first build",
        "b: only in the second build",
    ]
    assert list(rebuild.differences({"a": FILE}, {"a": FILE})) == []


def test_layers_that_differ_are_found_by_their_digests() -> None:
    first = Image("1", ("base", "a", "b"), {"User": "2000:2000", "Env": ["A=1"]})
    assert rebuild.different(first, replace(first, id="2")) == []
    assert rebuild.different(first, replace(first, layers=("base", "a", "c"))) == [2]
    assert rebuild.different(first, replace(first, layers=("base", "a"))) == [2]
    assert rebuild.different(replace(first, layers=()), first) == [0, 1, 2]


def test_settings_that_differ_are_named() -> None:
    first = Image("1", (), {"User": "2000:2000", "Env": ["A=1"]})
    assert list(rebuild.settings(first, first)) == []
    assert list(rebuild.settings(first, replace(first, settings={"Env": ["A=1"]}))) == [
        "configuration: User: '2000:2000', then None"
    ]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(entries: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as made:  # type: ignore[call-overload] # "w" or "w:gz"
        for name, content in entries.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            made.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def special(name: str, kind: bytes, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def lower() -> bytes:
    return archive({"opt/a": b"lower"})


def upper(mode: str = "w") -> bytes:
    return archive(
        {
            "opt": special("opt", tarfile.DIRTYPE, mode=0o755, mtime=7),
            "opt/a": b"upper",
            "opt/link": special("opt/link", tarfile.SYMTYPE, linkname="a", mode=0o777),
            "opt/hard": special("opt/hard", tarfile.LNKTYPE, linkname="opt/a"),
            "opt/null": special("opt/null", tarfile.CHRTYPE, devmajor=1, devminor=3, uid=5, gid=6),
            "opt/pipe": special("opt/pipe", tarfile.FIFOTYPE),
        },
        mode,
    )


@pytest.mark.parametrize(
    "saved",
    [
        {  # Docker before 25
            "l1/layer.tar": lower(),
            "l2/layer.tar": upper(),
            "config.json": b"{}",
            "manifest.json": json.dumps([{"Layers": ["l1/layer.tar", "l2/layer.tar"]}]).encode(),
        },
        {  # a layer that the image has twice
            "l1/layer.tar": lower(),
            "l2/layer.tar": upper(),
            "l3/layer.tar": special("l3/layer.tar", tarfile.SYMTYPE, linkname="../l2/layer.tar"),
            "manifest.json": json.dumps([{"Layers": ["l1/layer.tar", "l3/layer.tar"]}]).encode(),
        },
        {  # the OCI layout, compressed
            "blobs/sha256/c0": b'{"architecture": "amd64"}',
            "blobs/sha256/l1": lower(),
            "blobs/sha256/l2": upper("w:gz"),
            "index.json": b"{}",
            "manifest.json": json.dumps([{"Layers": ["blobs/sha256/l1", "blobs/sha256/l2"]}]).encode(),
        },
    ],
    ids=["docker", "twice", "oci"],
)
def test_a_saved_image_is_read_layer_by_layer(saved: dict[str, bytes | tarfile.TarInfo]) -> None:
    found = image_archives.read(io.BytesIO(archive(saved)), [1])
    assert list(found) == [1]
    layer = found[1]
    assert layer["opt/a"] == Entry("file", 0o644, (0, 0), 0, "", sha256(b"upper"))
    assert layer["opt"] == Entry("folder", 0o755, (0, 0), 7)
    assert layer["opt/link"] == Entry("link", 0o777, (0, 0), 0, "a")
    assert layer["opt/hard"] == Entry("hard link", 0o644, (0, 0), 0, "opt/a")
    assert layer["opt/null"] == Entry("device", 0o644, (5, 6), 0, "1:3")
    assert layer["opt/pipe"].kind == "pipe"
    assert list(rebuild.differences(layer, image_archives.read(io.BytesIO(archive(saved)), [0])[0])) == [
        "opt: only in the first build",
        f"opt/a: content {sha256(b'upper')[:12]}, then {sha256(b'lower')[:12]}",
        *(f"opt/{name}: only in the first build" for name in ("hard", "link", "null", "pipe")),
    ]


def test_of_a_files_layers_the_uppermost_counts_and_what_one_removes_is_gone() -> None:
    layers: dict[str, dict[str, bytes | tarfile.TarInfo]] = {
        "l1": {
            "a/kept.py": b"1",
            "a/changed.py": b"1",
            "a/gone.py": b"1",
            "b/c/x.py": b"1",
            "d/x.py": b"1",
            "e.so": b"1",
        },
        "l2": {"./a/changed.py": b"2", "a/.wh.gone.py": b"", ".wh.b": b"", "d/.wh..wh..opq": b"", "d/new.py": b"2"},
        "l3": {"/a/gone.py": b"3", "f.py": special("f.py", tarfile.LNKTYPE, linkname="a/gone.py")},
    }
    saved: dict[str, bytes | tarfile.TarInfo] = {f"{name}/layer.tar": archive(layer) for name, layer in layers.items()}
    saved["manifest.json"] = json.dumps([{"Layers": [f"{name}/layer.tar" for name in layers]}]).encode()
    found = image_archives.files(io.BytesIO(archive(saved)), lambda path: path.endswith(".py"))
    assert found == {"a/kept.py": b"1", "a/changed.py": b"2", "d/new.py": b"2", "a/gone.py": b"3", "f.py": b"3"}
