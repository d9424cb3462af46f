"""Files of a model in a folder or a repository: which of them an engine reads, and whether all are there and whole.

Nobody is asked, and weights are not read: of a file of tensors only the header, which says how long it must be.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from harness.host import files

TENSORS = ".safetensors"
_TORCH = (".bin", ".pt", ".pth")
_WEIGHTS = (TENSORS, *_TORCH, ".gguf")
_INDEX = ".index.json"
_CONFIGURATIONS = ("config.json", "params.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt", "spiece.model")
_TOKENIZER = (*_TOKENIZERS, ".tiktoken")
_UNREAD_FOLDERS = frozenset({"original", "onnx", "openvino", "coreml", "metal", "gguf", "tflite", "assets"})
_UNREAD_NAMES = ("license", "licence", "notice", ".git")
_UNREAD = (
    *(".onnx", ".onnx_data", ".gguf", ".h5", ".msgpack", ".tflite", ".ot", ".mlmodel", ".pb", ".ckpt", ".md", ".pdf"),
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".mp3", ".mp4", ".wav", ".ipynb", ".zip", ".tar", ".gz"),
)
_POINTER = b"version https://git-lfs"
# The library that defines the format refuses longer ones.
_LONGEST_HEADER = 100_000_000


def unread(names: Collection[str]) -> list[str]:
    """Of the files of a repository those that no engine reads: weights in other formats a second time, pictures.

    Weights that are there once are never among them.

    Args:
        names: Paths in the repository.
    """
    top = {name for name in names if "/" not in name}
    has_tensors = any(name.endswith(TENSORS) for name in top)
    has_weights = has_tensors or any(name.endswith(_TORCH) for name in top)
    # Mistral's format has a configuration of its own beside the weights it belongs to.
    twice = "params.json" not in top and any(name.startswith("model") and name.endswith(TENSORS) for name in top)

    def is_read(name: str) -> bool:
        folders, last = PurePosixPath(name).parts[:-1], PurePosixPath(name).name
        elsewhere = bool(folders) and folders[0].lower() in _UNREAD_FOLDERS
        if has_weights and (elsewhere or last.lower().startswith(_UNREAD_NAMES) or last.lower().endswith(_UNREAD)):
            return False
        if has_tensors and last.endswith((*_TORCH, *(f"{ending}{_INDEX}" for ending in _TORCH))):
            return False
        return not (twice and not folders and last.startswith("consolidated") and TENSORS in last)

    return [name for name in names if not is_read(name)]


def lacking(folder: Path, listed: Mapping[str, int]) -> str:
    """What of a repository is not in a folder, or has another size; empty if nothing is missing.

    Args:
        folder: With the repository's files.
        listed: Bytes of each file, as the hub says.
    """
    skipped = set(unread(listed))
    wanted = {name: size for name, size in listed.items() if name not in skipped}
    absent = [name for name in wanted if not (folder / name).is_file()]
    if absent:
        return f"{len(absent)} of {len(wanted)} files are not there: {_some(absent)}"
    for name, size in wanted.items():
        if (there := (folder / name).stat().st_size) != size:
            return f"{name} has {there} bytes, the hub has {size}"
    return ""


def problem(folder: Path, *, tokenizer: bool = False) -> str:
    """What keeps an engine from loading a folder, as far as its files say; empty if nothing does.

    Args:
        folder: Of the model.
        tokenizer: Whether it must have one, as what answers must and a drafter need not.
    """
    try:
        return next(_problems(folder, tokenizer=tokenizer), "")
    except OSError as error:
        return f"{error.filename or folder}: {error.strerror}"


def _problems(folder: Path, *, tokenizer: bool) -> Iterator[str]:
    if not folder.is_dir():
        yield "no such folder" if not os.path.lexists(folder) else "no folder"
        return
    found = plain_files(folder)
    yield from _special(found)
    configurations = [name for name in _CONFIGURATIONS if name in found]
    if not configurations:
        yield f"no {_CONFIGURATIONS[0]}"
    for name in configurations:
        if not isinstance(_json(found[name]), dict):
            yield f"{name} is no JSON table"
    weights = {name: path for name, path in found.items() if "/" not in name and name.endswith(_WEIGHTS)}
    yield from _incomplete(found, weights)
    if not weights:
        yield f"no weights (*{TENSORS}, or *.bin)"
    yield from _cut(weights)
    names = [name for name in found if name.endswith(_TOKENIZER)]
    if tokenizer and not names:
        yield f"no tokenizer ({', '.join(_TOKENIZERS[:2])})"
    yield from (f"{name} is empty" for name in names if found[name].stat().st_size == 0)
    yield from _pointers({name: found[name] for name in names})


def _special(found: Mapping[str, Path]) -> Iterator[str]:
    for name, path in found.items():
        if path.is_symlink() and not path.exists():
            yield f"{name} is a link that points nowhere"
        elif path.is_dir():
            yield f"{name} is a link to a folder: put the folder itself there"
        elif not path.is_file():
            yield f"{name} is no plain file"


def plain_files(folder: Path) -> dict[str, Path]:
    """Everything in a folder by its path there, sorted; what is below hidden folders (``.git``, ``.cache``) is not.

    Raises:
        OSError: A folder cannot be read.
    """

    def give_up(error: OSError) -> None:
        raise error

    found: dict[str, Path] = {}
    for at, folders, names in os.walk(folder, onerror=give_up):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if (Path(at) / name).is_symlink()]
        for name in [*names, *links]:
            path = Path(at) / name
            found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def _incomplete(found: Mapping[str, Path], weights: Mapping[str, Path]) -> Iterator[str]:
    """Parts that an index names and that are not there, or lack what it says is in them."""
    has_tensors = any(name.endswith(TENSORS) for name in weights)
    for name in [name for name in found if "/" not in name and name.endswith(_INDEX)]:
        if has_tensors and not name.endswith(f"{TENSORS}{_INDEX}"):
            continue  # of weights that are not read beside these
        document = _json(found[name])
        index = document.get("weight_map") if isinstance(document, dict) else None
        if not isinstance(index, dict) or not all(isinstance(part, str) for part in index.values()):
            yield f"{name} has no table of weights (weight_map)"
            continue
        parts = sorted(set(index.values()))
        absent = [part for part in parts if part not in weights]
        if absent:
            yield f"{len(absent)} of the {len(parts)} parts in {name} are not there: {_some(absent)}"
            continue
        held = {part: _header(weights[part]) for part in parts if part.endswith(TENSORS)}
        for tensor, part in index.items():
            header = held.get(part)
            if isinstance(header, dict) and tensor not in header:
                yield f"{part} has no {tensor[:100]}, which {name} says is there: of another model?"
                break


def _cut(weights: Mapping[str, Path]) -> Iterator[str]:
    """Weights that are not as long as they must be."""
    yield from _pointers(weights)
    for name, path in weights.items():
        size = path.stat().st_size
        if size == 0:
            yield f"{name} is empty"
        elif name.endswith(TENSORS):
            header = _header(path)
            if isinstance(header, str):
                yield f"{name} {header}"
            elif (wanted := _length(path, header)) != size:
                yield f"{name} has {size} bytes, its header says {wanted}: cut off, or still being copied"


def _pointers(found: Mapping[str, Path]) -> Iterator[str]:
    for name, path in found.items():
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                yield f"{name} is a pointer of Git LFS and not the file: git lfs pull"


def _header(path: Path) -> dict[str, Any] | str:
    """Header of a file of tensors; what is wrong with it as text.

    Source: the format's own description, https://github.com/huggingface/safetensors#format.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, size):
            return "has no header: cut off, or no file of tensors"
        text = file.read(length)
    if len(text) < length:
        return "is cut off within its header"
    try:
        found = json.loads(text)
        tensors = {name: entry["data_offsets"] for name, entry in found.items() if name != "__metadata__"}
        fine = all(0 <= int(begin) <= int(end) for begin, end in tensors.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "has a header that cannot be read: damaged"
    return found if fine else "has a header with impossible places: damaged"


def _length(path: Path, header: Mapping[str, Any]) -> int:
    """Bytes that a file of tensors with this header has."""
    with path.open("rb") as file:
        first = 8 + int.from_bytes(file.read(8), "little")
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return first + max(ends, default=0)


def _json(path: Path) -> Any:
    try:
        return json.loads(files.read(path) or b"")
    except (files.Unreadable, ValueError, RecursionError):
        return None


def _some(names: Collection[str]) -> str:
    """The first few of many names."""
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
