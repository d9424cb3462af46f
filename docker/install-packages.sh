#!/bin/sh
# Install what the base lacks of the packages that an engine links to, each in a locked version.
#
#   install-packages.sh LOCK
#
# LOCK   lines of RELEASE ARCHITECTURE NAME VERSION SHA256; RELEASE as ID-VERSION_ID of /etc/os-release
set -eu
lock=$1

names=$(sed -e '/^#/d' "$lock" | cut -d ' ' -f 3 | sort -u)
lacking=
for name in $names; do
  dpkg-query --show --showformat '${Status}' "$name" 2>/dev/null | grep -q ' installed$' || lacking="$lacking $name"
done
if [ -z "$lacking" ]; then exit 0; fi

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "$ID-${VERSION_ID:-}")
architecture=$(dpkg --print-architecture)
apt="-o Dir::State::lists=/tmp/lists -o Dir::Cache=/tmp/cache -o APT::Sandbox::User=root -q"
if [ -s /tmp/ca.pem ]; then apt="$apt -o Acquire::https::CAInfo=/tmp/ca.pem"; fi
mkdir -p /tmp/lists/partial /tmp/cache/archives/partial /tmp/packages
cd /tmp/packages
# shellcheck disable=SC2086 # options, none of which holds a blank
apt-get $apt update

for name in $lacking; do
  line=$(grep "^$release $architecture $name " "$lock" || true)
  if [ -z "$line" ]; then
    echo "ERROR: the base is $release on $architecture and lacks $name: use a base that has it, or add its release to" \
      "RELEASES in harness/images/distribution_packages.py and run: nox -s locks" >&2
    exit 1
  fi
  version=$(echo "$line" | cut -d ' ' -f 4)
  sha256=$(echo "$line" | cut -d ' ' -f 5)
  # shellcheck disable=SC2086
  if ! apt-get $apt download "$name=$version"; then
    echo "ERROR: no $name $version for $release any more: the locked version was replaced; run: nox -s locks" >&2
    exit 1
  fi
  if ! echo "$sha256  $(echo "$name"_*.deb)" | sha256sum --check --quiet -; then
    echo "ERROR: $name $version from the base's mirror is not what was locked (SHA-256 $sha256): find out why" >&2
    exit 1
  fi
done
DEBIAN_FRONTEND=noninteractive dpkg --log=/tmp/dpkg.log --install ./*.deb
