"""Acceptance tests for LLM inference engines: an engine build goes in, a verdict comes out."""

__version__ = "0.1.0"
