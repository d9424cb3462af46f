import sys

from fake_sglang import serve


def main() -> None:
    serve(sys.argv[2:])
