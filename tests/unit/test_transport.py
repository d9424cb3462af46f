"""Over what KV caches travel: from what UCX wrote, whole, mixed and cut down."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import NO_ANSWERS, Evidence, Measurement
from harness.checks.transport import TransportSettings, chosen, judge
from tests.ucx_tables import EMULATED, MESSAGES, OWN, READ, WRITTEN


def judged(*over: str, operation: str = "read", **logs: str) -> CheckResult:
    table = {"over": list(over), "operation": operation, "origin": "made for this test"}
    settings = TransportSettings.model_validate(table)
    (result,) = judge(settings, Evidence(Measurement({"main": NO_ANSWERS}, None, None, None), logs=logs))
    return result


def test_a_transport_that_is_allowed_passes() -> None:
    result = judged("cuda_ipc", "cma", prefill=OWN + MESSAGES + WRITTEN, decode=OWN + MESSAGES + READ)
    assert (result.outcome, result.measured, result.n) == (Outcome.PASS, 1, 1)
    assert result.details == "decode: cma/memory (zero-copy, intra-node, host memory from host)"


def test_a_fall_back_to_tcp_is_red_and_says_where() -> None:
    result = judged("cuda_ipc", "rc_*", decode=EMULATED, other=READ)
    assert (result.outcome, result.measured, result.n) == (Outcome.FAIL, 0, 2)
    assert "decode: tcp/lo (software emulation, intra-node, host memory from host)" in result.message
    assert result.message.endswith("; allowed are cuda_ipc, rc_*")


def test_a_short_process_id_is_filled_up_with_blanks() -> None:
    assert judged("cma", decode=READ.replace("[vm:27302:0]", "[vm:2118 :0]")).outcome is Outcome.PASS


def test_one_that_fell_back_is_enough() -> None:
    assert judged("cma", one=READ, two=READ + EMULATED).outcome is Outcome.FAIL


def test_what_is_written_is_another_operation() -> None:
    assert judged("cma", operation="write", prefill=WRITTEN + EMULATED).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "log", ["", MESSAGES, OWN, WRITTEN, READ.replace("intra-node", "self"), READ[: len(READ) // 2]]
)
def test_without_a_word_of_it_nothing_is_judged(log: str) -> None:
    result = judged("cma", decode=log)
    assert result.outcome is Outcome.ERROR
    assert "UCX_PROTO_INFO=y" in result.message


def test_several_transports_at_once_must_all_be_allowed() -> None:
    both = READ.replace("cma/memory", "50% on rc_mlx5/mlx5_0:1/path0 and 50% on tcp/eth0")
    (found,) = chosen(both)
    assert found.transports == ("rc_mlx5", "tcp")
    assert judged("rc_*", decode=both).outcome is Outcome.FAIL
    assert judged("rc_*", "tcp", decode=both).outcome is Outcome.PASS


def test_smaller_messages_do_not_count() -> None:
    row = next(line for line in READ.splitlines() if "0..inf" in line)
    small = row.replace("0..inf", "0..512").replace("cma/memory", "tcp/lo    ")
    assert judged("cma", decode=READ.replace(row, f"{small}\n{row}")).outcome is Outcome.PASS


def test_a_transport_of_another_form_is_not_taken_for_an_allowed_one() -> None:
    assert judged("*", decode=READ.replace("cma/memory", "something ")).outcome is Outcome.FAIL


def test_tables_that_threads_write_at_once_are_told_apart() -> None:
    other = EMULATED.replace("vm:", "vm:9")
    one, two = READ.splitlines(), other.splitlines()
    chance, mixed = random.Random(3), list[str]()
    while one or two:
        mixed.append((one if one and (not two or chance.random() < 0.5) else two).pop(0))
    assert {each.transports for each in chosen("\n".join(mixed))} == {("cma",), ("tcp",)}


def test_settings_name_a_transport() -> None:
    for over in ([], [""]):
        with pytest.raises(ValidationError):
            TransportSettings.model_validate({"over": over, "origin": "made for this test"})
