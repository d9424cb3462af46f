"""What the command line says about servers that run already: addresses by name, a key, a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.base import secrets, texts
from harness.base.errors import UsageError
from harness.base.settings import cut
from harness.cases.model import Case
from harness.engines.engine import numbered
from harness.plan.points import Planned
from harness.run import api_key


@dataclass(frozen=True)
class Attachment:
    """What the command line says about servers that run already.

    Attributes:
        urls: Base URL by the name of the server in the topology.
        key: Where their API key is, as :mod:`harness.run.api_key` has it; empty without one.
        model: Name of the model to ask for; empty: that of the case, or the only one that is served.
    """

    urls: Mapping[str, str]
    key: str = ""
    model: str = ""

    def require(self, planned: Iterable[Planned]) -> None:
        """Say before anything is asked that the names are not those of a case's servers, or that there is no key.

        Raises:
            UsageError: Which, and what the names are.
        """
        for each in planned:
            names = names_of(each.case)
            if set(names) != set(self.urls):
                forms = ",".join(f"{name}=URL" for name in names)
                form = "--url URL" if names == ["server"] else f"--attach {forms}"
                raise UsageError(f"{each.id} has {', '.join(names)}, not {', '.join(self.urls)}; give {form}")
        if self.key:
            api_key.read(self.key)


def attachment(
    attach: Sequence[str], url: str, *, key_env: str, key_file: Path | None, model: str
) -> Attachment | None:
    """What the options say; None if there is nothing to attach to.

    Args:
        attach: ``NAME=URL``, several with commas between them.
        url: Of a single server.
        key_env: Variable with the API key.
        key_file: File with it.
        model: Name of the model to ask for.

    Raises:
        UsageError: An address is none, two names or addresses are the same, or options contradict one another.
    """
    given = [part.strip() for each in attach for part in each.split(",")]
    if not given and not url:
        for option, value in (("--api-key-env", key_env), ("--api-key-file", key_file), ("--model-name", model)):
            if value:
                raise UsageError(f"{option}: only for servers that run already; give --url or --attach too")
        return None
    if given and url:
        raise UsageError("--url and --attach: give one of them; --url URL is --attach server=URL")
    if key_env and key_file:
        raise UsageError("--api-key-env and --api-key-file: give one of them")
    urls: dict[str, str] = {}
    for part in given or [f"server={url}"]:
        name, equals, address = part.partition("=")
        if not equals or not name or "/" in name:
            raise UsageError(
                f"--attach {cut(texts.one_line(secrets.mask(part)))}: must be NAME=URL, as in decode=http://127.0.0.1:8000"
            )
        base = base_url("--url" if url else f"--attach {name}", address)
        if name in urls or base in urls.values():
            raise UsageError(f"--attach {name}: a name or an address that is there twice")
        urls[name] = base
    if not (model.isprintable() and len(model) <= 500):
        raise UsageError("--model-name: must be printable, and no longer than 500 characters")
    key = f"env:{key_env}" if key_env else f"file:{key_file.absolute()}" if key_file else ""
    return Attachment(urls, key, model)


def base_url(option: str, address: str) -> str:
    """The address below which ``/v1`` and ``/metrics`` are: without a slash, or that ``/v1``, at its end.

    Raises:
        UsageError: It is no address of a server.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{option}: {error}; give http://HOST:PORT") from None
    if "@" in parts.netloc:
        raise UsageError(f"{option}: holds a user or a password, which others can read; give --api-key-env or a file")
    shown = cut(texts.one_line(secrets.mask(address)))
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise UsageError(f"{option} {shown}: no address of a server; give http://HOST:PORT or https://HOST/PATH")
    if parts.query or parts.fragment or not address.isprintable() or " " in address:
        raise UsageError(f"{option} {shown}: must end with the path, without spaces, '?' and '#'")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def names_of(case: Case) -> list[str]:
    """Names of the servers of a case, the router last."""
    engines = [name for role, count in case.topology.roles.items() for name in numbered(role, count)]
    return [*engines, *(["router"] if case.topology.kind == "disagg" else [])]
