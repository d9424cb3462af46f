from fake_engine import build, serve_engine

if build().unimportable:
    raise ImportError(build().unimportable)

__all__ = ["serve_engine"]
