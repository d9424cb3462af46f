"""Public data sets: which files, with which content, and how their rows are read."""
