from fake_engine import make_arg_parser

__all__ = ["make_arg_parser"]
