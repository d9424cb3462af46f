"""Prefill and decode on different hosts, on paper: addresses, interfaces, who may, and why a point does not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Server
from harness.base.errors import NothingSelected, UsageError
from harness.cases.load import load
from harness.plan import show
from harness.plan.points import NEEDS_HOSTS, everything
from harness.run.selection import select
from harness.run.spread import require
from tests.helpers import BASELINES, edited

CASE = "disagg/known_answer_hosts"


def servers(folder: Path, case: str) -> list[Server]:
    found = next(each for each in load(folder) if each.id == case).resolve("cpu")
    return show.servers(found, "")


def test_each_server_listens_on_its_host_and_the_router_here() -> None:
    prefill, decode, router = servers(BASELINES, CASE)
    assert (prefill.host, decode.host, router.host) == ("192.0.2.1", "192.0.2.2", "127.0.0.1")
    for server in (prefill, decode):
        assert server.argv[server.argv.index("--host") + 1] == server.host
        assert server.env["VLLM_HOST_IP"] == server.env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == server.host
        assert server.env["UCX_NET_DEVICES"] == "eth0"
        assert {probe.host for probe in server.probes} == {server.host}
        assert server.probes[0].url == f"{server.url}/health"
    assert router.argv[-4:] == ("--prefill", prefill.url, "--decode", decode.url)


def test_an_interface_that_a_case_names_stays(tmp_path: Path) -> None:
    folder = edited(tmp_path / "cases", CASE, {"serve/env/UCX_NET_DEVICES": "mlx5_0:1"}, generate=False)
    prefill, *_ = servers(folder, CASE)
    assert prefill.env["UCX_NET_DEVICES"] == "mlx5_0:1"


def test_side_channels_of_sglang_are_at_the_host_too(tmp_path: Path) -> None:
    changes = {"topology/spread": "hosts"}
    prefill, decode, _ = servers(
        edited(tmp_path / "cases", "sglang_pd/known_answer", changes), "sglang_pd/known_answer"
    )
    assert (prefill.env["SGLANG_HOST_IP"], decode.env["SGLANG_HOST_IP"]) == ("192.0.2.1", "192.0.2.2")
    assert {probe.host for probe in prefill.probes} == {"192.0.2.1"}


def test_one_server_is_not_spread(tmp_path: Path) -> None:
    folder = edited(tmp_path / "cases", "eagle3/known_answer", {"topology/spread": "hosts"}, generate=False)
    with pytest.raises(UsageError, match=r"topology\.spread: a single topology has one server"):
        load(folder)[0].resolve("cpu")


def chosen(*wanted: str, **more: Any) -> dict[str, str]:
    found = select(BASELINES, wanted=list(wanted), platform="cpu", **more)
    return {each.id: each.skip for each in found}


def test_without_hosts_it_is_left_out_with_the_reason() -> None:
    (point,) = [each for each in everything(load(BASELINES)) if each.case_file.id == CASE]
    assert point.skip == NEEDS_HOSTS
    with pytest.raises(NothingSelected, match="--ray ADDRESS"):
        chosen(CASE)
    assert chosen(CASE, hosts=True) == {CASE: ""}


def test_beside_other_points_it_is_left_out_even_where_hosts_are() -> None:
    other = "disagg/known_answer"
    assert chosen(CASE, other, hosts=True) == {CASE: NEEDS_HOSTS, other: ""}


@pytest.mark.parametrize(("cluster", "runtime", "said"), [("", "local", "--ray"), ("1.2.3.4:5", "docker", "--runtime")])
def test_what_cannot_be_spread_says_so(cluster: str, runtime: str, said: str) -> None:
    case = next(each for each in load(BASELINES) if each.id == CASE).resolve("cpu")
    with pytest.raises(UsageError, match=said):
        require(case, cluster, runtime)
