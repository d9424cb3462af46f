#!/bin/sh
# Run a step of an image's build so that its layer comes out the same every time: whatever it wrote gets one date.
#
#   step.sh SECONDS COMMAND [ARGUMENT]...
#
# SECONDS   date of what the command writes, in seconds since 1970
set -eu
date=$1
shift

export SOURCE_DATE_EPOCH="$date" PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 LC_ALL=C.UTF-8 HOME=/tmp
export PIP_CACHE_DIR=/tmp/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PIP_CONSTRAINT # of a base, for its own engine
if [ -d /tmp/pip ]; then export TMPDIR=/tmp/pip; fi # /tmp is memory, and wheels are gigabytes
if [ -s /tmp/ca.pem ]; then export PIP_CERT=/tmp/ca.pem; fi
umask 022
stamp=/tmp/started
touch "$stamp"
sleep 1 # so that everything the command writes is newer, however coarse the clock of the file system

"$@"

# ldconfig's cache of inode numbers. Emptied, not removed: what marks a file as removed has a date of its own.
cache=/var/cache/ldconfig/aux-cache
if [ -n "$(find "$cache" -newer "$stamp" 2>/dev/null)" ]; then : > "$cache"; fi
find /etc /opt /usr /var -xdev -newer "$stamp" ! -path /etc/resolv.conf ! -path /etc/hosts ! -path /etc/hostname \
  -exec touch -h -d "@$date" {} +
