"""Programs that an engine's own interpreter runs to say what its server knows: :mod:`.common` and one an engine.

They print one line of JSON: ``options``, ``variables`` and ``choices`` as of
:class:`~harness.engines.capabilities.Capabilities`, and in ``errors`` why one of these could not be found. They are
sent as text (:mod:`harness.base.programs`), import nothing but Python's own library when they begin, and run on Python
3.10.
"""
