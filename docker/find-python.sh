#!/bin/sh
# Print the first Python of the base that harness and locks can use.
set -eu
for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
  if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$candidate"
    exit 0
  fi
done
echo "ERROR: Python 3.11 or newer is needed and the base has $(python3 --version 2>/dev/null || echo none): name a base" \
  "that has it with --base-image, for example one made of this one by installing python3.11 and python3.11-venv" >&2
exit 1
