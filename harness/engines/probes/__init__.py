"""Programs that an engine's own interpreter runs to say what its server knows: :mod:`.common` and one an engine.

They print :class:`~harness.engines.capabilities.Capabilities` as one line of JSON. They are sent as text
(:mod:`harness.base.programs`), import nothing but Python's own library when they begin, and run on Python 3.10.
"""
