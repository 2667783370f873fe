#!/usr/bin/env bash
# Database users of least privilege for MySQL and MariaDB, one a role. Prints SQL for whoever administers the server:
#
#   users.sh accounts | mysql      the users with their passwords; the owner's rights (before `event-system migrate`)
#   users.sh grants | mysql        every other role's rights (after it, and after every later migration)
#   users.sh revoke | mysql        takes all rights of those roles; `grants` directly behind it, or the system stands still
#   users.sh urls HOST:PORT        one file a role in SECRETS/urls, for `kubectl create secret … --from-file`
#
# Roles: gateway, worker, admin, keys, operator, owner (grants.sql says what each may do). Settings, by environment:
#   SECRETS=users         folder for passwords; one that is there already is used, so that running this again changes none
#   DATABASE=events       KEY_DATABASE=events (the key store's, if it has its own)
#   USER_PREFIX=event_    HOST=% (where users may come from)    REQUIRE= (SSL: only encrypted; X509: with a client certificate)
set -Eeuo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
: "${SECRETS:=users}" "${DATABASE:=events}" "${KEY_DATABASE:=$DATABASE}" "${USER_PREFIX:=event_}" "${HOST:=%}" "${REQUIRE:=NONE}"
ROLES=(gateway worker admin keys operator owner)

die() { printf 'users: %s\n' "$*" >&2; exit 2; }
# All of these become part of SQL or of an URL.
for name in DATABASE KEY_DATABASE USER_PREFIX; do
  [[ "${!name}" =~ ^[A-Za-z0-9_]+$ ]] || die "$name has letters, digits and _ only"
done
[[ "$HOST" =~ ^[A-Za-z0-9_.%:/-]+$ ]] || die "HOST is an address, a name or a pattern with %"
case "$REQUIRE" in NONE | SSL | X509) ;; *) die "REQUIRE is SSL or X509" ;; esac

password() {
  local file="$SECRETS/$1.password"
  if [ ! -e "$file" ]; then
    (umask 077 && mkdir -p "$SECRETS" && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$file")
  fi
  [[ "$(cat "$file")" =~ ^[A-Za-z0-9_-]+$ ]] || die "$file: letters, digits, _ and - only"
  cat "$file"
}

# A database's name in `db.*` is a pattern: its underscores are escaped. Beside a table it is the name itself.
# shellcheck disable=SC2016 # backticks of SQL
pattern() { printf '`%s`' "${1//_/\\_}"; }
user() { printf "'%s%s'@'%s'" "$USER_PREFIX" "$1" "$HOST"; }

# shellcheck disable=SC2016 # backticks of SQL
accounts() {
  local role
  for role in "${ROLES[@]}"; do
    # MySQL and MariaDB alike: an account that is there keeps its rights and gets this password.
    printf "CREATE USER IF NOT EXISTS %s IDENTIFIED BY '%s';\n" "$(user "$role")" "$(password "$role")"
    printf "ALTER USER %s IDENTIFIED BY '%s' REQUIRE %s;\n" "$(user "$role")" "$(password "$role")" "$REQUIRE"
  done
  for db in "$DATABASE" "$KEY_DATABASE"; do
    printf 'CREATE DATABASE IF NOT EXISTS `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n' "$db"
    printf 'GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON %s.* TO %s;\n' \
      "$(pattern "$db")" "$(user owner)"
  done
}

grants() {
  local text role
  text="$(grep -v '^--' "$here/grants.sql" | grep .)"
  text="${text//@db@/\`$DATABASE\`}"
  text="${text//@key_db@/\`$KEY_DATABASE\`}"
  for role in "${ROLES[@]}"; do text="${text//@$role@/$(user "$role")}"; done
  printf '%s\n' "$text"
}

revoke() {
  local role
  for role in "${ROLES[@]}"; do
    [ "$role" = owner ] || printf 'REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s;\n' "$(user "$role")"
  done
}

# The names are the keys of the Secret event-system-database, see k8s/README.md.
urls() {
  local address="$1" role db
  [[ "$address" =~ ^[A-Za-z0-9.-]+(:[0-9]+)?$ ]] || die "urls HOST:PORT"
  (umask 077 && mkdir -p "$SECRETS/urls")
  for role in "${ROLES[@]}"; do
    db="$DATABASE"
    [ "$role" != keys ] || db="$KEY_DATABASE"
    (umask 077 && printf 'mysql://%s%s:%s@%s/%s' "$USER_PREFIX" "$role" "$(password "$role")" "$address" "$db" \
      >"$SECRETS/urls/$role-url")
  done
  mv "$SECRETS/urls/keys-url" "$SECRETS/urls/key-store-url"
  (umask 077 && printf 'mysql://%sowner:%s@%s/%s' "$USER_PREFIX" "$(password owner)" "$address" "$KEY_DATABASE" \
    >"$SECRETS/urls/key-store-owner-url")
  printf 'users: %s\n' "$SECRETS"/urls/*
}

case "${1:-}" in
  accounts) accounts ;;
  grants) grants ;;
  revoke) revoke ;;
  urls) urls "${2:-}" ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
