"""Stands for NIXL."""
