"""What this machine took when it first needed something that nobody has pinned: commits and digests, written down.

So the same machine takes the same again until somebody tells it otherwise. One file each below the user's cache folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.base.clock import utc_now
from harness.base.errors import CannotJudge
from harness.host import data_files, files

Kind = Literal["model", "base image"]
_LARGEST = 1 << 16
_LONGEST = 100


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class Taken(BaseModel):
    """One thing that was taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    """Repository of the model, or image with its tag."""
    value: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|sha256:[0-9a-f]{64})$")]
    """Commit, or digest."""
    source: str
    """Who said it: a hub, a registry, the hub's cache."""
    when: Annotated[str, AfterValidator(_moment)]

    @property
    def text(self) -> str:
        """For people, and for the record of a run."""
        what = f"{self.kind} resolved at first use: {self.name}@{self.value}"
        return f"{what}, not pinned by the project ({self.source}, {self.when[:10]})"


def recalled(kind: Kind, name: str) -> Taken | None:
    """What was taken before; None if nothing was.

    Raises:
        CannotJudge: The file is damaged.
    """
    return _read(_file(kind, name))


def keep(kind: Kind, name: str, value: str, source: str, *, anew: bool = False) -> Taken:
    """Write down what is taken, and return what counts: what somebody else wrote first, unless ``anew``.

    Raises:
        CannotJudge: It cannot be written, or what is there is damaged.
    """
    taken = Taken(kind=kind, name=name, value=value, source=source, when=utc_now().isoformat())
    path = _file(kind, name)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(beside, taken.model_dump_json(indent=2) + "\n")
        if anew:
            beside.replace(path)
        else:
            os.link(beside, path)  # unlike a renaming, it replaces nothing
    except FileExistsError:
        return _read(path) or taken
    except OSError as error:
        raise CannotJudge(
            f"{path}: cannot be written", cause=f"{error.strerror}; XDG_CACHE_HOME names another folder", fault="host"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
    return taken


def everything() -> Iterator[Taken]:
    """All that was taken, by kind and name.

    Raises:
        CannotJudge: A file is damaged.
    """
    for path in sorted(_folder().glob("*.json")):
        if found := _read(path):
            yield found


def forget(taken: Taken) -> None:
    """Take it anew next time."""
    _file(taken.kind, taken.name).unlink(missing_ok=True)


def _read(path: Path) -> Taken | None:
    try:
        content = files.read(path, _LARGEST)
        return None if content is None else Taken.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}"[:200]
    except files.Unreadable as error:
        why = str(error)
    raise CannotJudge(f"{path}: damaged", cause=f"{why}; remove it, and it is taken anew", fault="host")


def _folder() -> Path:
    return data_files.cache_folder("first-use")


def _file(kind: Kind, name: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{kind} {name}")[:_LONGEST]
    return _folder() / f"{readable}-{files.digest_text(kind, name)[:8]}.json"
