"""Baselines that are measurements: a case run several times, what its values are worth, and the file that says so."""
