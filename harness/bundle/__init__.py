"""Bundles: everything that a host without a network needs, in one folder or in parts of a tar archive.

What reads and loads a bundle is standard library only: it travels in the bundle as ``bundle.pyz``, because the other
side has no harness yet.
"""
