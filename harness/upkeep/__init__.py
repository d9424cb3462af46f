"""What keeps the repository true: generated files, rules over all cases, records, and pinned commits of models."""
