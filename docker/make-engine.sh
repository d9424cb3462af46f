#!/bin/sh
# Make the engine's environment of an image.
#
#   make-engine.sh FROM ENGINE FOLDER
#
# FROM     wheels: install the locked engine; base: the base holds it already
# ENGINE   package of the engine
# FOLDER   the environment; made anew
set -eu
from=$1 engine=$2 folder=$3
here=$(dirname "$0")

case $from in
  wheels)
    python=$(sh "$here/find-python.sh")
    sh "$here/install-engine.sh" "$python" "$folder" "$here/requirements" "$here/wheels"
    ;;
  base) sh "$here/adopt-engine.sh" "$engine" "$folder" "$here/requirements" "$here/wheels" ;;
  *)
    echo "ERROR: ENGINE_FROM is $from; it is wheels or base" >&2
    exit 1
    ;;
esac
sh "$here/add-wheel.sh" "$engine" "$folder" "$here/wheels" "$here/own"
sh "$here/compile.sh" "$folder/bin/python" "$folder/lib"
