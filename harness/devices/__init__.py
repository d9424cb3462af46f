"""Accelerators: which there are, which a run may see, and which it holds."""
