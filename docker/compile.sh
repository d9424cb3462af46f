#!/bin/sh
# Compile an environment's packages, in a form that does not depend on the time: the root is read-only later, and every
# server would compile them anew. Sources that are no valid Python, templates above all, stay as they are.
#
#   compile.sh PYTHON FOLDER
set -eu
"$1" -m compileall -qq -f -j 0 --invalidation-mode unchecked-hash "$2" >/dev/null || :
