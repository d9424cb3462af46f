"""Two network namespaces for hosts; for the whole of a session, since Ray takes seconds to start in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cpu.conftest import engine_python as engine_python  # noqa: PLC0414 # a fixture
from tests.hosts.namespaces import Host, needs_namespaces, ray_nodes, two_hosts

Pair = tuple[Host, Host]


@pytest.fixture(scope="package")
def pair() -> Iterator[Pair]:
    """Two hosts that reach one another."""
    needs_namespaces()
    with two_hosts() as hosts:
        yield hosts


@pytest.fixture(scope="package")
def cluster(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray cluster of the two."""
    pytest.importorskip("ray")
    with ray_nodes(pair, tmp_path_factory.mktemp("ray")) as address:
        yield address
