#!/usr/bin/env bash
# venv.sh DIR REQUIREMENTS: a Python environment with exactly these packages, for what the tests do in Python. Where Python
# is missing, root gets it with apt-get.
set -Eeuo pipefail
[ $# = 2 ] || { sed -n '2,3p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 2; }
dir="$1" requirements="$2"

# Debian's python3 has no ensurepip without python3-venv.
has_python() { python3 -c 'import venv, ensurepip' 2>/dev/null; }
if ! has_python && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv; } >/dev/null
fi
has_python || { echo "venv: python3 with its venv module is needed (Debian: python3-venv)" >&2; exit 3; }

python3 -m venv --clear "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
