#!/usr/bin/env bash
# Stands in for each of the programs in e2e.sh, under its name: the program itself runs, but as the database user of its role.
# The file `settings` beside it (tests give their programs no environment but what they mean) says PROGRAMS, where the programs
# are; SECRETS and USER_PREFIX, as in users.sh; STACK_SCRIPT and what that needs.
set -Eeuo pipefail
set -a
# shellcheck source=/dev/null
. "$(dirname "$0")/settings"
set +a
name="$(basename "$0")"
users="$(dirname "$(readlink -f "$0")")/users.sh"

case "$name ${1:-}" in
  api-gateway*) role=gateway ;;
  *-worker*) role=worker ;;
  admin-api*) role="admin" ;;
  'event-system migrate') role=owner ;;
  event-system*) role=operator ;;
esac

# A database that is new here gets its grants. Its tables are there: tests migrate before they start a program.
database_of() { local path="${1##*/}"; printf %s "${path%%\?*}"; }
lay_grants() {
  local mark="$SECRETS/granted-$1-$2"
  [ ! -e "$mark" ] || return 0
  (
    flock 9
    [ ! -e "$mark" ] || exit 0
    DATABASE="$1" KEY_DATABASE="$2" "$users" grants | "$STACK_SCRIPT" sqlroot && touch "$mark"
  ) 9>"$SECRETS/lock"
}
as_user() { # ROLE URL
  local rest="${2#mysql://*@}"
  printf 'mysql://%s%s:%s@%s' "$USER_PREFIX" "$1" "$(cat "$SECRETS/$1.password")" "$rest"
}

if [[ "${DATABASE_URL:-}" == mysql://*@*/* ]]; then
  keys="${KEY_STORE_URL:-$DATABASE_URL}"
  lay_grants "$(database_of "$DATABASE_URL")" "$(database_of "$keys")"
  DATABASE_URL="$(as_user "$role" "$DATABASE_URL")"
  export DATABASE_URL
  case "$name ${1:-}" in
    admin-api* | 'event-system keys') KEY_STORE_URL="$(as_user keys "$keys")"; export KEY_STORE_URL ;;
  esac
fi
exec "$PROGRAMS/$name" "$@"
