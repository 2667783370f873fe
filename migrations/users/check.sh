#!/usr/bin/env bash
# Checks the database users on the stack that runs (`make users-check`): a database of its own is migrated by the owner, the
# grants are laid, and every statement of statements.txt is tried by its role. EVENT_SYSTEM names the program (target/debug).
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=../..
stack="${STACK_SCRIPT:-$root/compose/stack.sh}"
event_system="${EVENT_SYSTEM:-$root/target/debug/event-system}"
die() { printf 'users: %s\n' "$*" >&2; exit 1; }
[ -x "$event_system" ] || die "$event_system is not there (cargo build -p event-system)"

work="$(mktemp -d)"
export SECRETS="$work/users" DATABASE=events_users_check USER_PREFIX=check_
cleanup() {
  local role
  { echo "DROP DATABASE IF EXISTS $DATABASE;"
    for role in gateway worker admin keys operator owner; do echo "DROP USER IF EXISTS '$USER_PREFIX$role'@'%';"; done
  } | "$stack" sqlroot
  rm -rf "$work"
}
trap cleanup EXIT

# A table that no role has a right to is one that grants.sql forgot.
grep -oP '^    \K\w+(?= \()' $root/shared-runtime/src/store/schema.rs | sort -u >"$work/tables"
while read -r table; do
  grep -qE "ON @(key_)?db@\.$table TO" grants.sql || die "grants.sql does not name the table $table"
done <"$work/tables"

./users.sh accounts | "$stack" sqlroot
address="${DATABASE_URL:-mysql://x@127.0.0.1:13306/x}"
address="${address#*@}"
./users.sh urls "${address%%/*}" >/dev/null
DATABASE_URL="$(cat "$SECRETS/urls/owner-url")" KEY_STORE_URL="$(cat "$SECRETS/urls/key-store-owner-url")" \
  "$event_system" migrate >"$work/migrate" 2>&1 || { cat "$work/migrate"; die 'the owner cannot migrate'; }
./users.sh grants | "$stack" sqlroot
./users.sh accounts | "$stack" sqlroot # again: changes nothing

as() { # ROLE, SQL on standard input
  "$stack" sqlroot --user="$USER_PREFIX$1" --password="$(cat "$SECRETS/$1.password")" --database="$DATABASE"
}
./users.sh revoke | "$stack" sqlroot
if echo 'SELECT event_id FROM events' | as gateway >/dev/null 2>&1; then die 'a right is left behind revoke'; fi
./users.sh grants | "$stack" sqlroot
may=0 not=0
while IFS='|' read -r role verdict statement; do
  role="${role// /}" verdict="${verdict// /}"
  case "$role" in '' | '#'*) continue ;; esac
  said=""
  if said="$(printf 'START TRANSACTION; %s; ROLLBACK;\n' "$statement" | as "$role" 2>&1 >/dev/null)"; then
    [ "$verdict" = may ] || die "$role may, and must not: $statement"
    may=$((may + 1))
  else
    [ "$verdict" = not ] || die "$role may not, and must: $statement: $said"
    # Denied: on a command, a column, a database, for want of SUPER or CREATE USER.
    grep -qE 'ERROR (1142|1143|1044|1045|1227|1410) ' <<<"$said" || die "$role: refused for another reason: $statement: $said"
    not=$((not + 1))
  fi
done <statements.txt
printf 'users: %d tables; %d statements pass, %d are refused\n' "$(wc -l <"$work/tables")" "$may" "$not"
