#!/bin/sh
# Put a wheel of the user's own over the engine of an environment.
#
#   add-wheel.sh ENGINE FOLDER WHEELS OWN
#
# ENGINE   package that the wheel brings
# FOLDER   the environment
# WHEELS   folder with the wheel of pip
# OWN      folder with at most one wheel
set -eu
engine=$1 folder=$2 wheels=$3 own=$4
python=$folder/bin/python

for wheel in "$own"/*.whl; do
  if [ ! -e "$wheel" ]; then break; fi
  # A build under another name owns the same package, and its leftovers would mix with the new one. What a base holds
  # stays: the environment's own packages come first.
  former=$("$python" - "$engine" "$folder" <<'PYTHON'
import importlib.metadata, sys
engine, folder = sys.argv[1:]
for each in importlib.metadata.distributions():
    owned = {str(file).split("/")[0] for file in each.files or ()}
    if engine in owned and str(each.locate_file("")).startswith(folder):
        print(each.metadata["Name"])
PYTHON
  )
  pip=$(echo "$wheels"/pip-*.whl)/pip
  for name in $former; do
    "$python" "$pip" uninstall --yes "$name"
  done
  "$python" "$pip" install --no-deps --no-index --no-compile "$wheel"
done
