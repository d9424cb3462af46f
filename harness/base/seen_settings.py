"""What a case asks of its servers, next to what the servers show of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SeenSetting:
    """One setting that a case asks of one server.

    Attributes:
        server: Name of the server.
        name: As the engine's flags name it: ``block-size``, ``speculative-config.method``; of the environment the
            variable's name.
        asked: What the case asks for, as text.
        seen: What is in force, as the server shows it; empty where nothing that it says or writes shows it.
        equal: Whether that is what was asked for. Where nothing was seen this is False and means nothing.
    """

    server: str
    name: str
    asked: str
    seen: tuple[str, ...] = ()
    equal: bool = False
