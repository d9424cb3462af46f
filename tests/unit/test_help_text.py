"""Options read from what commands print as their help."""

from __future__ import annotations

import argparse

import pytest

from harness.engines.help_text import options

ARGPARSE = """INFO 11-27 10:00:00 [importing.py:17] a log line that names --no-such-option
usage: vllm serve [model_tag] [options]

options:
  -h, --help            show this help message and exit
  --async-scheduling, --no-async-scheduling
                        If set. Replaces
                        --gone-option. (default: None)
  --enable-prefix-caching, --disable-prefix-caching
                        Whether to. (default: True)
  --max-model-len MAX_MODEL_LEN, -mml MAX_MODEL_LEN
                        - a bullet
                        --not-one either
  --host HOST           Where. Use --another instead.
  --port {1,2}, -p {1,2}
"""
CLAP = """Usage: engine serve [OPTIONS] <MODEL>

Options:
      --host <HOST>          Where to listen [default: 127.0.0.1]
  -p, --port <PORT>          The port
      --enable-metrics       Turns on --nothing
"""
BOXED = """\u256d\u2500 Options \u2500\u256e
\u2502 --host              TEXT     Where        \u2502
\u2502 --port      -p      INTEGER  The port     \u2502
\u2502 --eager/--no-eager           Whether      \u2502
\u2570\u2500\u2500\u256f
"""


def test_definitions_count_and_what_descriptions_mention_does_not() -> None:
    found = options(ARGPARSE)
    assert {"--max-model-len", "--max_model_len", "-mml", "--no-async-scheduling", "--port", "-p"} <= found
    assert not {"--gone-option", "--not-one", "--another", "--no-such-option"} & found


def test_negations_that_no_help_shows_are_known() -> None:
    found = options(ARGPARSE)
    assert {"--no-enable-prefix-caching", "--no_enable_prefix_caching", "--no-disable-prefix-caching"} <= found
    assert "--no-max-model-len" not in found


@pytest.mark.parametrize(
    ("text", "some"),
    [(CLAP, {"--host", "--port", "-p", "--enable-metrics"}), (BOXED, {"--host", "--port", "--eager", "--no-eager"})],
)
def test_other_forms(text: str, some: set[str]) -> None:
    found = options(text)
    assert some <= found
    assert "--nothing" not in found


def test_all_that_argparse_prints_is_found() -> None:
    parser = argparse.ArgumentParser(prog="serve")
    for name in ("--host", "--port", "--a-very-long-option-that-has-a-line-of-its-own"):
        parser.add_argument(name, help="--mentioned")
    parser.add_argument("--eager", "-e", action=argparse.BooleanOptionalAction, help="Whether")
    shown = {each for action in parser._actions for each in action.option_strings}
    assert shown <= options(parser.format_help())
    assert "--mentioned" not in options(parser.format_help())


def test_the_help_of_another_command_behind_it_does_not_count() -> None:
    both = f"{ARGPARSE}\n--- Help for Diffusion Model Server ---\noptions:\n  --vae-path PATH\n"
    assert "--vae-path" in options(both)
    assert "--vae-path" not in options(both, "--- Help for Diffusion Model Server ---")


@pytest.mark.parametrize(
    "text",
    ["", "Traceback (most recent call last):", '{"options": ["--host", "--port"]}', ARGPARSE[:300], "--host\n" * 3],
)
def test_what_is_no_whole_help_says_nothing(text: str) -> None:
    assert options(text) == frozenset()
