"""What an environment is made of: the interpreter below it, its version, and the folders that its packages are in."""

import json
import sys
from pathlib import Path


def main() -> None:
    """Print it as JSON, on a line of its own."""
    on_path = [Path(each) for each in sys.path]
    folders = [str(each.resolve()) for each in on_path if each.name in ("site-packages", "dist-packages")]
    print()
    print(
        json.dumps(
            {
                "base": str(Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()),
                "version": f"{sys.version_info[0]}.{sys.version_info[1]}",
                "scripts": str(Path(sys.executable).absolute().parent),
                "folders": [each for each in dict.fromkeys(folders) if Path(each).is_dir()],
            }
        )
    )


if __name__ == "__main__":
    main()
