#!/usr/bin/env bash
# For tests alone, where the registry with python:3.11-slim is out of reach: makes the file system of a stand-in for it from
# Debian's packages, which has the same Python. usage: stand_in_base.sh FILE.tar
set -euo pipefail
certificates=/usr/local/share/ca-certificates # this host's own, which its way to the package index may need
mmdebstrap --quiet --variant=minbase bookworm "$1" \
	--include=python3,python3-venv,python3-pip,python-is-python3,ca-certificates \
	--customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
	--customize-hook="if [ -d $certificates ]; then cp -r $certificates \"\$1\"/usr/local/share/; fi" \
	--customize-hook='chroot "$1" update-ca-certificates' \
	--customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/usr/share/doc/*'
