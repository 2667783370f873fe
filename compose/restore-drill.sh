#!/usr/bin/env bash
# restore-drill.sh: the database is lost under load, restored from a backup and catches up; then `replay` and `reconcile` say
# whether anything is missing. Exit 0: every acknowledged entry has its outcome, and log, database and Redis agree.
#
# On the stack that runs (`make test-recovery`), with a database, topics and a Redis database of its own, which are dropped in
# the end. The steps are those of k8s/runbooks/restore.md.
#
# PROGRAMS (target/debug): the programs. DRILL_REQUESTS (400): requests a wave, of which some twenty are sent.
set -Eeuo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
programs="${PROGRAMS:-$here/../target/debug}"
requests="${DRILL_REQUESTS:-400}"
: "${DATABASE_URL:?run it on the stack: compose/with-stack.sh compose/restore-drill.sh}" "${REDIS_URL:?}" "${KAFKA_BROKERS:?}"
stack="${STACK_SCRIPT:?}"

began=$SECONDS
say() { printf 'drill %3d s: %s\n' "$((SECONDS - began))" "$*"; }
die() { say "FAILED: $*"; exit 1; }

id="$(head -c 4 /dev/urandom | od -An -tx4 | tr -d ' ')"
work="$(mktemp -d)"
database="events_drill_$id"
# The key store has its own database and backups: it must not be restored with the other one.
keys="events_drill_keys_$id"
server="${DATABASE_URL%/*}"
port() { local p; while :; do p=$((RANDOM % 10000 + 20000)); (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "$p"; return; }; done; }
public="127.0.0.1:$(port)"
staff="127.0.0.1:$(port)"
export DATABASE_URL="$server/$database" KEY_STORE_URL="$server/$keys" KAFKA_TOPIC_PREFIX="drill-$id-" ALLOW_UNSAFE_LOG=true
export REDIS_URL="${REDIS_URL%/*}/$((RANDOM % 200 + 20))" LOG=info,librdkafka=off KAFKA_SESSION_TIMEOUT=6s
export AUTH_DEV_KEY_FILE="$work/keys/dev.key" KEY_ENCRYPTION_KEY_FILE="$work/keys/key-encryption.key"
export DECISION_KEY_FILE="$work/keys/decision.key"

declare -A pids=() ops=()
load=""
stop() { # NAME: SIGTERM, and its exit code
  local rc=0
  kill -TERM "${pids[$1]}" 2>/dev/null || true
  wait "${pids[$1]}" || rc=$?
  unset "pids[$1]"
  return "$rc"
}
cleanup() {
  local rc=$? name
  trap - EXIT
  [ -z "$load" ] || { kill "$load" 2>/dev/null; wait "$load" 2>/dev/null; } || true
  for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" 2>/dev/null || true; done
  if [ "$rc" != 0 ]; then tail -n 30 "$work"/*.log || true; fi
  "$stack" sql -e "DROP DATABASE IF EXISTS \`$database\`; DROP DATABASE IF EXISTS \`$keys\`" || true
  rm -rf "$work"
  exit "$rc"
}
trap cleanup EXIT

start() { # NAME SETTING...: a program, in the background
  local name="$1"
  shift
  [ -n "${ops[$name]:-}" ] || ops[$name]="127.0.0.1:$(port)"
  env "$@" OPS_ADDR="${ops[$name]}" "$programs/$name" >>"$work/$name.log" 2>&1 &
  pids[$name]=$!
}
ready() { # NAME: /readyz says so
  local end=$((SECONDS + 60))
  until OPS_ADDR="${ops[$1]}" "$programs/$1" healthcheck >/dev/null 2>&1; do
    kill -0 "${pids[$1]}" 2>/dev/null || die "$1 has ended"
    [ "$SECONDS" -lt "$end" ] || die "$1 is not ready"
    sleep 0.1
  done
}
number() { "$stack" sql -BN -e "USE \`$database\`; $1"; }
# A wave of entries, each with a key of its own, by twenty members; the ids of those that were acknowledged are kept.
wave() {
  local n="$1" k config="$work/wave-$1.curl"
  mkdir -p "$work/answers-$n"
  for ((k = 0; k < requests; k++)); do
    printf 'next\nsilent\nrequest = "POST"\nurl = "http://%s/v1/events/%s/entries"\nheader = "Authorization: Bearer %s"\nheader = "Idempotency-Key: w%s-%s"\noutput = "%s/%s"\nwrite-out = "%%{http_code} %s\\n"\nmax-time = 20\n' \
      "$public" "$event" "${tokens[k % ${#tokens[@]}]}" "$n" "$k" "$work/answers-$n" "$k" "$k"
  done >"$config"
  curl --parallel --parallel-max 16 --config "$config" >"$work/codes-$n" 2>/dev/null || true
  awk -v folder="$work/answers-$n" '$1 == 202 { print folder "/" $2 }' "$work/codes-$n" |
    xargs -r grep -ohE '"entry_id":"[0-9a-f-]+"' | cut -d '"' -f 4 >>"$work/acknowledged"
  awk '$1 != 202' "$work/codes-$n" >>"$work/refused"
}
press() { local n=0; while [ ! -e "$work/enough" ]; do wave "$n"; n=$((n + 1)); done; echo "$n" >"$work/waves"; }
acknowledged() { wc -l <"$work/acknowledged"; }
pressed() { # until so many more are acknowledged
  local end=$((SECONDS + 60)) least=$(($(acknowledged) + $1))
  until [ "$(acknowledged)" -ge "$least" ]; do
    [ "$SECONDS" -lt "$end" ] || die "the load does not get through: $(sort "$work/refused" | uniq -c | sort -rn | head -3)"
    sleep 0.1
  done
}

"$programs/event-system" keys init --dir "$work/keys" >/dev/null
"$stack" sql -e "CREATE DATABASE \`$database\`; CREATE DATABASE \`$keys\`"
"$programs/event-system" migrate >/dev/null
"$programs/event-system" topics create --partitions 2 >/dev/null
start api-gateway PUBLIC_ADDR="$public"
start admin-api ADMIN_ADDR="$staff"
start apply-worker
for name in api-gateway admin-api apply-worker; do ready "$name"; done
say "gateway, admin-api and worker run on $database"

ask() { curl -sS -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "http://$staff/admin/v1/events$1" -d "$2"; }
token="$("$programs/event-system" token --staff drill --scope 'events:read events:write ops:write')"
event="$(ask '' "{\"title\": \"Drill\", \"type\": \"FIRST_COME\", \"starts_at\": \"2026-01-01T00:00:00Z\",
  \"ends_at\": \"$(date -u -d '+1 day' +%Y-%m-%dT%H:%M:%SZ)\", \"stock\": [{\"count\": 1000000}], \"internal_test\": true,
  \"duplicate_participation_allowed\": true, \"limits\": {\"per_second\": 50000, \"per_member_per_second\": 1000}}" |
  sed -n 's/.*"event_id":\([0-9]*\).*/\1/p')"
[ -n "$event" ] || die 'no event was made'
ask "/$event/schedule" '{}' >/dev/null
end=$((SECONDS + 30))
until curl -s "http://$public/v1/events/$event" | grep -q '"OPEN"'; do
  [ "$SECONDS" -lt "$end" ] || die 'the event does not open'
  sleep 0.1
done
tokens=()
for member in {1..20}; do tokens+=("$("$programs/event-system" token --member "$member")"); done

: >"$work/acknowledged"
: >"$work/refused"
press &
load=$!
pressed 800
"$stack" dump "$database" >"$work/backup.sql"
backed_up="$(acknowledged)"
say "backup under load: $(wc -c <"$work/backup.sql") bytes, $backed_up entries acknowledged so far"
pressed 800

"$stack" sql -e "DROP DATABASE \`$database\`"
lost_at=$SECONDS
lost="$(acknowledged)"
say "the database is lost, $lost entries acknowledged; the gateway goes on"
pressed 400
# What the runbook says: workers and admin-api stop, the gateway stays.
stop apply-worker || say "the worker ended with $? without its database"
stop admin-api || say "admin-api ended with $? without its database"
"$stack" sql -e "CREATE DATABASE \`$database\`"
{ echo "USE \`$database\`;"; cat "$work/backup.sql"; } | "$stack" sql
"$programs/event-system" migrate >/dev/null
say "restored: $(number "SELECT COUNT(*) FROM event_entry") entries"
start apply-worker
start admin-api ADMIN_ADDR="$staff"
ready apply-worker
ready admin-api
say "admin-api is ready: every lane has passed the end of the log seen at its start"
pressed 400
touch "$work/enough"
wait "$load" || die 'the load broke'
load=""

end=$((SECONDS + 60))
sort -u "$work/acknowledged" | tr -d - >"$work/expected"
until [ "$(number "SELECT COALESCE(SUM(seq), 0) FROM event_lane WHERE event_id = $event")" -ge "$(wc -l <"$work/expected")" ]; do
  [ "$SECONDS" -lt "$end" ] || die 'the lane does not catch up'
  sleep 0.1
done
number "SELECT LOWER(HEX(entry_id)) FROM event_entry WHERE event_id = $event ORDER BY 1" >"$work/there"
missing="$(LC_ALL=C comm -23 <(LC_ALL=C sort "$work/expected") <(LC_ALL=C sort "$work/there") | wc -l)"
[ "$missing" = 0 ] || die "$missing acknowledged entries have no outcome"
say "caught up $((SECONDS - lost_at)) s after the loss: $(wc -l <"$work/expected") acknowledged, $(wc -l <"$work/there") decided, none lost"

"$programs/event-system" replay --into "sqlite://$work/again.db" >"$work/replay.txt" || { cat "$work/replay.txt"; die 'replay differs'; }
say "replay: $(tail -n 1 "$work/replay.txt")"
"$programs/event-system" reconcile >"$work/reconcile.txt" || { cat "$work/reconcile.txt"; die 'reconcile finds differences'; }
say "reconcile: $(tail -n 1 "$work/reconcile.txt")"
for name in api-gateway admin-api apply-worker; do stop "$name" || die "$name did not drain: exit $?"; done
printf 'SUMMARY restore-drill acknowledged=%s backup_at=%s lost_at=%s decided=%s missing=0 refused=%s seconds=%s\n' \
  "$(wc -l <"$work/expected")" "$backed_up" "$lost" "$(wc -l <"$work/there")" "$(wc -l <"$work/refused")" "$((SECONDS - began))"
