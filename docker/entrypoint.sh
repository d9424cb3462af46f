#!/bin/sh
# The harness in an image. -I: what a base sets for its own Python, PYTHONPATH above all, is not for this one.
exec /opt/harness/bin/python -I -m harness "$@"
