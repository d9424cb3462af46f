"""Programs of other interpreters, as text for ``python -c``: see :mod:`harness.base.programs`."""
