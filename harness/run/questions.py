"""What is asked: the items of the evaluation, with the data they come from and prompts as the engine makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.ground import texts
from harness.ground.clock import Deadline
from harness.ground.domain import Item
from harness.ground.errors import CannotJudge
from harness.mechanism import http
from harness.mechanism.exchange import NoAnswer
from harness.policy import protocols
from harness.policy.cases.model import Case
from harness.policy.requests import chat_prompt
from harness.run.context import Context
from harness.run.rundir import RunningServer

_TOKENIZE_TIMEOUT = 30.0


def items(context: Context) -> list[Item]:
    """Everything the evaluation asks; chat items are not rendered yet."""
    data = {name: Path(path).read_text(encoding="utf-8") for name, path in context.prepared.data.items()}
    return protocols.items(context.case.evaluation, data)


def rendered(case: Case, servers: list[RunningServer], item: Item, deadline: Deadline) -> Item:
    """The item with a prompt to send: of a chat item, the token ids that the engine's chat template makes of it.

    ``deadline`` is of the stage that asks.

    Raises:
        CannotJudge: The engine has no chat template, or does not answer.
    """
    if not item.chat:
        return item
    server = next(running.server for running in servers if running.server.has_metrics)
    limit = deadline.cut(_TOKENIZE_TIMEOUT)
    try:
        status, reply = http.post(f"{server.url}/tokenize", chat_prompt(case, item), limit)
    except NoAnswer as error:
        raise CannotJudge(f"{server.name} does not render chat prompts", cause=str(error)) from error
    tokens = reply.get("tokens") if status == 200 and isinstance(reply, dict) else None
    if not tokens or not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise CannotJudge(f"{server.name} does not render chat prompts", cause=f"status {status}: {texts.cause(reply)}")
    return replace(item, prompt=tuple(tokens), prompt_tokens=len(tokens), chat=False)
