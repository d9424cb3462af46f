import sys

from fake_engine import command


def main() -> None:
    command(sys.argv[1:])


if __name__ == "__main__":
    main()
