#!/bin/sh
# Make an environment over the interpreter of a base that already holds an engine. It sees all that the base has, and
# gets what the base lacks. Nothing of the base is changed.
#
#   adopt-engine.sh ENGINE FOLDER ADDITIONS WHEELS
#
# ENGINE      package that the base must hold
# FOLDER      the environment; made anew
# ADDITIONS   folder with NAME.txt: distribution and its hash-locked requirements
# WHEELS      folder with the wheel of pip
set -eu
engine=$1 folder=$2 additions=$3 wheels=$4
here=$(dirname "$0")

base=
for candidate in python3 python; do
  # With an origin: a folder of that name somewhere on the path is no engine.
  if "$candidate" -c "import importlib.util as found; assert found.find_spec('$engine').origin" 2>/dev/null; then
    base=$candidate
    break
  fi
done
if [ -z "$base" ]; then
  echo "ERROR: the base's python3 ($(command -v python3 || echo "there is none")) has no $engine: name an image that" \
    "holds it with --base-image, or install the locked one with --engine-from wheels" >&2
  exit 1
fi

rm -rf "$folder"
"$base" -m venv --without-pip "$folder"
# By addsitedir and not as plain paths: the base's own .pth files count, an engine installed in place is one. Where the
# base's interpreter is of a virtual environment, this one stands on the interpreter below it and would see nothing.
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$base" -c '
import os, site
for folder in filter(os.path.isdir, site.getsitepackages()):
    print(f"import site; site.addsitedir({folder!r})")
' > "$site/base.pth"

python=$folder/bin/python
for locked in "$additions"/*.txt; do
  if [ ! -e "$locked" ]; then break; fi
  name=$(basename "$locked" .txt)
  "$python" "$here/lacking.py" "$name" "$locked" > /tmp/lacking.txt
  if [ -s /tmp/lacking.txt ]; then
    "$python" "$(echo "$wheels"/pip-*.whl)/pip" install --no-deps --require-hashes \
      --only-binary :all: --no-compile --ignore-installed --requirement /tmp/lacking.txt
  fi
done
