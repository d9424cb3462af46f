"""What is asked, and of whom: the items of the evaluation, their prompts as the engine makes them, and who is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness import protocols
from harness.base import texts
from harness.base.clock import Deadline
from harness.base.domain import Item, Server
from harness.base.errors import CannotJudge
from harness.host import http_client
from harness.host.http_client import NoAnswer
from harness.plan.request_bodies import chat_prompt
from harness.protocols.protocol import Destination
from harness.run.context import Context
from harness.run.rundir import RunningServer

_ENTRY_ROLES = ("router", "server")


def destination(servers: list[RunningServer], send_to: Destination) -> Server:
    """The server that ``send_to`` names: the entry point, or the first server of a role."""
    roles = _ENTRY_ROLES if send_to == "entry" else (send_to,)
    return next(running.server for running in servers if running.server.role in roles)


_TOKENIZE_TIMEOUT = 30.0


def evaluation_items(context: Context) -> list[Item]:
    """Everything the evaluation asks; chat items are not rendered yet."""
    data = {name: Path(path).read_text(encoding="utf-8") for name, path in context.prepared.data.items()}
    return protocols.items(context.case.evaluation, data)


def rendered(context: Context, servers: list[RunningServer], item: Item, deadline: Deadline) -> Item:
    """The item with a prompt to send: of a chat item, the token ids that the engine's chat template makes of it.

    What goes to the chat endpoint stays as it is: there the server makes the prompt. ``deadline`` is of the stage that
    asks.

    Raises:
        CannotJudge: The engine has no chat template, or does not answer.
    """
    if not item.chat or context.case.evaluation.endpoint == "chat":
        return item
    server = next(running.server for running in servers if running.server.role != "router")
    body = chat_prompt(context.case, item, context.prepared.model)
    limit = deadline.cut(_TOKENIZE_TIMEOUT)
    try:
        status, reply = http_client.post(f"{server.url}/tokenize", body, limit)
    except NoAnswer as error:
        raise CannotJudge(f"{server.name} does not render chat prompts", cause=str(error)) from error
    tokens = reply.get("tokens") if status == 200 and isinstance(reply, dict) else None
    if not tokens or not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise CannotJudge(f"{server.name} does not render chat prompts", cause=f"status {status}: {texts.cause(reply)}")
    return replace(item, prompt=tuple(tokens), prompt_tokens=len(tokens), chat=False)
