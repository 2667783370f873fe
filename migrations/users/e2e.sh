#!/usr/bin/env bash
# e2e.sh [TEST...]: tests of e2e/tests on the stack that runs, with every program as the database user of its role: what a
# program does in them that grants.sql forgot fails there. `make users-check` runs it behind check.sh.
#
# PROGRAMS (target/debug): the programs. TESTS (target/debug/deps): the tests, as cargo names them or without the hash.
set -Eeuo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
root="$(cd "$here/../.." && pwd -P)"
die() { printf 'users: %s\n' "$*" >&2; exit 1; }
[ $# -gt 0 ] || set -- real_staff real_contacts real_draw real_raffles real_poison real_http real_log_identity real_replay
export PROGRAMS="${PROGRAMS:-$root/target/debug}" USER_PREFIX=e2e_ STACK_SCRIPT="${STACK_SCRIPT:-$root/compose/stack.sh}"
tests="${TESTS:-$root/target/debug/deps}"

work="$(mktemp -d)"
export SECRETS="$work/users"
cleanup() {
  local role
  for role in gateway worker admin keys operator owner; do echo "DROP USER IF EXISTS '$USER_PREFIX$role'@'%';"; done \
    | "$STACK_SCRIPT" sqlroot
  rm -rf "$work"
}
trap cleanup EXIT

# The accounts alone: rights are laid for each test's database when its first program starts.
"$here/users.sh" accounts | grep -E '^(CREATE|ALTER) USER' | "$STACK_SCRIPT" sqlroot
# Tests look for programs in the folder above their own.
mkdir -p "$work/debug/deps"
for name in api-gateway admin-api apply-worker raffle-worker event-system; do ln -s "$here/as-role.sh" "$work/debug/$name"; done
for name in PROGRAMS SECRETS USER_PREFIX STACK_SCRIPT STACK_DIR PATH; do
  [ -z "${!name:-}" ] || printf '%s=%q\n' "$name" "${!name}"
done >"$work/debug/settings"
for test in "$@"; do
  program="$(find "$tests" -maxdepth 1 -type f -executable \( -name "$test" -o -name "$test-*[0-9a-f]" \) -printf '%T@ %p\n' | sort -rn | head -1 | cut -d' ' -f2-)"
  [ -n "$program" ] || die "the test $test is not built"
  cp "$program" "$work/debug/deps/$test"
  printf '\nusers: %s, each program as its own user\n' "$test"
  (cd "$root/e2e" && "$work/debug/deps/$test" --test-threads "${TEST_THREADS:-2}")
  rm "$work/debug/deps/$test"
done
ls "$SECRETS"/granted-* >/dev/null 2>&1 || die 'no program ran as a user of its role'
