"""Mechanism: processes, containers, waiting, HTTP, files. Knows no engine's name and no case's meaning."""
