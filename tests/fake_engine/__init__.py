"""A scripted engine: real processes on real sockets that fail on demand. For faults, never as proof that a feature works."""
