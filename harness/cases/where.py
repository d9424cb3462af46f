"""Where something stands in case files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """Where a table stands: the file, and the keys that lead to it."""

    file: str
    key: tuple[str, ...] = ()

    def below(self, *key: str) -> Where:
        """A table or a value in it."""
        return Where(self.file, (*self.key, *key))

    def __str__(self) -> str:
        return f"{self.file}: {'.'.join(self.key)}" if self.key else self.file
