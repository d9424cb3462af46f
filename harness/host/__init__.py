"""This machine: processes and whose they are, signals, ports, waiting, files, HTTP, and fetching from elsewhere."""
