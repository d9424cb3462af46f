#!/bin/sh
# Make a virtual environment with an engine from hash-locked requirements. The image and the local runtime both use it.
#
#   install-engine.sh PYTHON FOLDER REQUIREMENTS [WHEELS]
#
# PYTHON        interpreter to build on
# FOLDER        the environment; made anew
# REQUIREMENTS  folder with torch.txt and engine.txt
# WHEELS        folder with wheels that may be used, checked against the same hashes
set -eu
python=$1 folder=$2 requirements=$3 wheels=${4:-}
torch_index=https://download.pytorch.org/whl/cpu

rm -rf "$folder"
"$python" -m venv "$folder" 2>/dev/null || "$python" -m virtualenv --quiet "$folder"

# --no-deps: the lock is complete, and leaves out what the engine declares and a CPU must not get (see the lock's head).
install() {
  "$folder/bin/python" -m pip install --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
    ${wheels:+--find-links "$wheels"} "$@"
}

# The CPU build of torch is not on the Python package index. Whatever the caller has configured goes first (an index
# mirror, a find-links folder), then PyTorch's own index: the hash decides, not the place.
echo "installing torch"
install --requirement "$requirements/torch.txt" ||
  install --index-url "$torch_index" --requirement "$requirements/torch.txt"
echo "installing the engine"
install --requirement "$requirements/engine.txt"
