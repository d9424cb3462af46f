#!/bin/sh
# Make a virtual environment with an engine from hash-locked requirements. The image and the local runtime both use it.
#
#   install-engine.sh PYTHON FOLDER REQUIREMENTS [WHEELS]
#
# PYTHON        interpreter to build on
# FOLDER        the environment; made anew
# REQUIREMENTS  folder with engine.txt, and with torch.txt if torch comes from another index
# WHEELS        folder with wheels that may be used, checked against the same hashes, and with the wheel of pip
set -eu
python=$1 folder=$2 requirements=$3 wheels=${4:-}
torch_index=https://download.pytorch.org/whl/cpu

rm -rf "$folder"
if [ -n "$wheels" ]; then
  "$python" -m venv --without-pip "$folder"
  pip=$(echo "$wheels"/pip-*.whl)/pip
else
  "$python" -m venv "$folder" 2>/dev/null || "$python" -m virtualenv --quiet "$folder"
  pip=
fi

# --no-deps: the lock is complete, and leaves out what the engine declares and must not get (see the lock's head).
# What is installed with pip's own wheel is compiled afterwards, in a form that does not depend on the time.
install() {
  # shellcheck disable=SC2086 # two words, or a path in an image
  "$folder/bin/python" ${pip:--m pip} install --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: ${wheels:+--find-links "$wheels" --no-compile} "$@"
}

# The CPU build of torch is not on the Python package index. Whatever the caller has configured goes first (an index
# mirror, a find-links folder), then PyTorch's own index: the hash decides, not the place.
if [ -e "$requirements/torch.txt" ]; then
  echo "installing torch"
  install --requirement "$requirements/torch.txt" ||
    install --index-url "$torch_index" --requirement "$requirements/torch.txt"
fi
echo "installing the engine"
install --requirement "$requirements/engine.txt"
