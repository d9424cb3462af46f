"""What is asked: the items of the evaluation, with the data they come from and prompts as the engine makes them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import requests

from harness.ground.domain import Item
from harness.ground.errors import CannotJudge
from harness.mechanism import downloads, http
from harness.policy import protocols
from harness.policy.cases.model import Case
from harness.policy.datasets import Dataset
from harness.policy.requests import chat_prompt
from harness.run.checkpoints import cache_folder
from harness.run.context import Context
from harness.run.rundir import RunningServer

DATA_FOLDER = "HARNESS_DATA_DIR"
"""Environment variable: folder that already holds the data files, for hosts without a network."""

_TOKENIZE_TIMEOUT = 30.0


def fetch(dataset: Dataset) -> Path:
    """A data file: from the user's folder, from the cache, or downloaded once.

    Raises:
        CannotJudge: It is not to be had, or has another content.
    """
    given = os.environ.get(DATA_FOLDER)
    try:
        if given:
            return downloads.verified(Path(given).absolute() / dataset.file, dataset.sha256)
        return downloads.fetch(dataset.url, cache_folder("data") / dataset.file, dataset.sha256)
    except downloads.Refused as error:
        advice = "" if given else f"; a folder that holds it can be named by {DATA_FOLDER}"
        raise CannotJudge(f"no {dataset.file}", cause=f"{error}{advice}") from error


def items(context: Context) -> list[Item]:
    """Everything the evaluation asks; chat items are not rendered yet."""
    data = {name: Path(path).read_text(encoding="utf-8") for name, path in context.prepared.data.items()}
    return protocols.items(context.case.evaluation, data)


def rendered(case: Case, servers: list[RunningServer], item: Item) -> Item:
    """The item with a prompt to send: of a chat item, the token ids that the engine's chat template makes of it.

    Raises:
        CannotJudge: The engine has no chat template, or does not answer.
    """
    if not item.chat:
        return item
    server = next(running.server for running in servers if running.server.has_metrics)
    try:
        status, reply = http.post(f"{server.url}/tokenize", chat_prompt(case, item), _TOKENIZE_TIMEOUT)
    except requests.RequestException as error:
        raise CannotJudge(f"{server.name} does not render chat prompts", cause=type(error).__name__) from error
    tokens = reply.get("tokens") if status == 200 and isinstance(reply, dict) else None
    if not tokens:
        raise CannotJudge(f"{server.name} does not render chat prompts", cause=f"status {status}: {str(reply)[:200]}")
    return replace(item, prompt=tuple(tokens), prompt_tokens=len(tokens), chat=False)
