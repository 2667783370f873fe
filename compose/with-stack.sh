#!/usr/bin/env bash
# with-stack.sh COMMAND [ARGS]: runs COMMAND with the real stack up and its addresses in the environment, and returns its
# status. Starts the stack if nothing of it runs, and then stops it again; a stack that was running is left running.
#
# STACK_ENGINE=native takes stack.sh, =docker takes docker-stack.sh. Unset: the native stack if it runs already, else
# containers if an engine answers, else the native stack if it is installed or can be.
set -Eeuo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
die() { printf 'with-stack: %s\n' "$*" >&2; exit 3; }
[ $# -gt 0 ] || { sed -n '2,6p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 2; }

native_runs() { local rc=0; "$HERE/stack.sh" status >/dev/null 2>&1 || rc=$?; [ "$rc" -le 1 ]; }
docker_answers() { timeout 10 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

pick() {
  local missing
  case "${STACK_ENGINE:-}" in
    native) echo stack.sh; return ;;
    docker) echo docker-stack.sh; return ;;
    "") ;;
    *) die "STACK_ENGINE is native or docker, not '$STACK_ENGINE'" ;;
  esac
  if native_runs; then echo stack.sh; return; fi
  if docker_answers; then echo docker-stack.sh; return; fi
  missing="$("$HERE/stack.sh" missing)"
  if [ -z "$missing" ] || { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }; then echo stack.sh; return; fi
  die "no container engine answers, and the native stack lacks: ${missing//$'\n'/ }." \
    "Without either, 'make test-embedded' runs every test that needs no real stores."
}

stack="$(pick)"
stack="$HERE/$stack"
ours=0
trap '[ "$ours" = 0 ] || "$stack" down || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

rc=0
"$stack" status >/dev/null 2>&1 || rc=$?
[ "$rc" != 3 ] || ours=1
"$stack" up || die "the real stack did not start (see above). 'make test-embedded' runs every test that needs no real stores."
addresses="$("$stack" env)"
eval "$addresses"

rc=0
"$@" || rc=$?
exit "$rc"
