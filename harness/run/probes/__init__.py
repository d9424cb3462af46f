"""Programs that the engine's interpreter runs where servers will run, each of which prints one line of JSON.

They are sent as text (:mod:`harness.base.programs`), import nothing but Python's own library when they begin, and run
on Python 3.10.
"""
