#!/bin/sh
# Add the harness itself and the evaluation data to an image.
#
#   add-source.sh FOLDER DATA
#
# FOLDER   the harness's environment
# DATA     folder for the data; made anew
set -eu
folder=$1 data=$2
here=$(dirname "$0")
unset PYTHONPATH # of a base: what lies there would count as installed

cp -R "$here/tree" /tmp/tree # the build writes beside its sources
"$folder/bin/python" "$(echo "$here"/wheels/pip-*.whl)/pip" install --no-deps --no-build-isolation --no-index \
  --no-compile /tmp/tree
package=$("$folder/bin/python" -I -B -c 'import harness; print(harness.__path__[0])')
sh "$here/compile.sh" "$folder/bin/python" "$package"
rm -f "$folder/bin/harness" # pip's, which heeds PYTHONPATH
cp "$here/entrypoint.sh" "$folder/bin/harness"
chmod 755 "$folder/bin/harness"

rm -rf "$data"
mkdir -p "$data"
cp "$here"/data/* "$data"
chmod 644 "$data"/*
cd "$data"
# Empty where the building host had no data at hand, which `sha256sum --check` calls an error.
if [ -s SHA256SUMS ]; then
  sha256sum --check --quiet SHA256SUMS
fi
