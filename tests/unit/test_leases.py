"""Leases as files: what the holder writes, in a folder that everybody may write to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.base.domain import Device
from harness.devices import leases

DEVICE = Device("0", "GPU-0")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "leases"
    monkeypatch.setenv(leases.FOLDER, str(path))
    return path


def lease(holder: str, device: Device = DEVICE) -> None:
    """Take a device and give it back."""
    _, held = leases.acquire(
        [device], 1, holder, Path("/runs/one"), foreign=lambda *_: "", wait=0.0, on_tick=lambda _: None
    )
    held.close()


def test_a_holder_with_less_to_say_leaves_nothing_of_the_one_before(folder: Path) -> None:
    for holder in ("a name that takes more room than the next one", "short"):
        lease(holder)
        (file,) = folder.iterdir()
        assert json.loads(file.read_text())["holder"] == holder


def test_a_link_in_place_of_a_lock_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    theirs = tmp_path / "theirs"
    theirs.write_text("nothing of ours")
    (folder / "GPU-0.lock").symlink_to(theirs)
    with pytest.raises(leases.Unusable):
        lease("holder")
    assert theirs.read_text() == "nothing of ours"


@pytest.mark.parametrize("uuid", ["../outside", "/outside", "MIG-GPU-0/1/0", "a b\n"])
def test_a_lock_lies_in_the_folder_whatever_the_device_is_called(folder: Path, uuid: str) -> None:
    lease("holder", Device("0", uuid))
    (file,) = folder.iterdir()
    assert file.is_file()
    assert set(file.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert sorted(each.name for each in folder.parent.iterdir()) == ["leases"]
