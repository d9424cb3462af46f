#!/bin/sh
# Make the harness's environment of an image, still without the harness itself.
#
#   make-harness.sh FOLDER
set -eu
folder=$1
here=$(dirname "$0")
unset PYTHONPATH # of a base: what lies there would count as installed

python=$(sh "$here/find-python.sh")
rm -rf "$folder"
"$python" -m venv --without-pip "$folder"
"$folder/bin/python" "$(echo "$here"/wheels/pip-*.whl)/pip" install --require-hashes --only-binary :all: --no-compile \
  --requirement "$here/harness.txt"
sh "$here/compile.sh" "$folder/bin/python" "$folder/lib"
