"""Intervals, noise of repeated runs, tests with stated errors, and rules that stop early: numbers in, numbers out.

Nothing here knows a case or an engine. What takes arrays works on the last axis, so that the simulations of
``tests/statistics`` run the same code a hundred thousand times at once. numpy and scipy are imported where they are
used: they take longer than the rest of a start, and most verdicts need neither.
"""
