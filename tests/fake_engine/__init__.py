"""A scripted engine: real processes on real sockets that fail on demand.

For faults and for speed, never as proof that a feature works.
"""
