"""Stands for PyTorch, as if one build were for both platforms."""

from types import SimpleNamespace

__version__ = "2.11.0"
version = SimpleNamespace(cuda="13.0", hip="7.2")
