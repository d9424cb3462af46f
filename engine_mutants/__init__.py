"""Engines broken on purpose: faults that were really published, to be loaded inside an engine that is to be judged.

What is here runs in the process of the engine, with the engine's Python. It needs the standard library and the modules
that it breaks, which it is given; it knows nothing of the harness. :mod:`engine_mutants.every_mutant` has every mutant,
:mod:`engine_mutants.loading` puts them in place.
"""
