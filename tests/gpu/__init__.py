"""Tests on an engine that somebody names, on the machine's accelerators: they need neither network nor Docker."""
