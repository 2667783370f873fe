#!/usr/bin/env bash
# The verbs of stack.sh for the stores of stores.yaml, through Docker Compose:
# up, down [--wipe], status, env, start|stop|restart|kill|pause|resume NAME, sql, sqlroot, dump DATABASE, kafka CLASS.
# NAME is mariadb (here: MySQL), redis (Valkey), kafka-1, kafka-2, kafka-3.
set -Eeuo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
: "${STACK_MYSQL_PORT:=13306}" "${STACK_REDIS_PORT:=16379}" "${STACK_KAFKA_PORT:=19092}" "${DB_PASSWORD:=event}"
STACK_KAFKA_PORT_1=$STACK_KAFKA_PORT STACK_KAFKA_PORT_2=$((STACK_KAFKA_PORT + 1)) STACK_KAFKA_PORT_3=$((STACK_KAFKA_PORT + 2))
export STACK_MYSQL_PORT STACK_REDIS_PORT STACK_KAFKA_PORT_1 STACK_KAFKA_PORT_2 STACK_KAFKA_PORT_3 DB_PASSWORD
SERVERS=(mysql redis kafka-1 kafka-2 kafka-3)

die() { printf 'docker-stack: %s\n' "$*" >&2; exit 2; }
dc() { docker compose -f "$HERE/stores.yaml" "$@"; }
wait_healthy() { dc up -d --no-recreate --wait --wait-timeout "${STACK_WAIT:-180}" "$@"; }

server() {
  case "${1:-}" in
    mariadb | mysql) echo mysql ;;
    redis | kafka-[123]) echo "$1" ;;
    *) die "NAME: one of mariadb redis kafka-1 kafka-2 kafka-3" ;;
  esac
}

# One line a server; exit 0 all answer, 1 some do not, 3 none is running.
status() {
  local lines n bad=0
  lines="$(dc ps --format '{{.Service}} {{.State}} {{.Health}}')"
  for n in "${SERVERS[@]}"; do
    grep -qx "$n running healthy" <<<"$lines" || bad=1
    grep "^$n " <<<"$lines" || echo "$n not running"
  done
  grep -qE '^(mysql|redis|kafka-[123]) (running|paused|restarting)' <<<"$lines" || return 3
  return "$bad"
}

cmd="${1:-}"
[ $# -eq 0 ] || shift
case "$cmd" in
  up) wait_healthy "${SERVERS[@]}" ;;
  down)
    # By name: the project's services, if they run, are not ours to stop.
    dc rm --stop --force "${SERVERS[@]}"
    if [ "${1:-}" = --wipe ]; then dc down --volumes; fi
    ;;
  status) status ;;
  env)
    printf 'export DATABASE_URL=%q\n' "mysql://event:$DB_PASSWORD@127.0.0.1:$STACK_MYSQL_PORT/events"
    printf 'export REDIS_URL=%q\n' "redis://127.0.0.1:$STACK_REDIS_PORT/0"
    printf 'export KAFKA_BROKERS=%q\n' "127.0.0.1:$STACK_KAFKA_PORT_1,127.0.0.1:$STACK_KAFKA_PORT_2,127.0.0.1:$STACK_KAFKA_PORT_3"
    printf 'export STACK_SCRIPT=%q\n' "$HERE/docker-stack.sh"
    ;;
  start) s="$(server "$@")"; dc start "$s"; wait_healthy "$s" ;;
  stop) s="$(server "$@")"; dc stop "$s" ;;
  restart) s="$(server "$@")"; dc restart "$s"; wait_healthy "$s" ;;
  kill) s="$(server "$@")"; dc kill -s SIGKILL "$s" ;;
  pause) s="$(server "$@")"; dc pause "$s" ;;
  resume) s="$(server "$@")"; dc unpause "$s" ;;
  sql) dc exec -T -e MYSQL_PWD="$DB_PASSWORD" mysql mysql -u event events "$@" ;;
  sqlroot) dc exec -T -e MYSQL_PWD="${DB_ROOT_PASSWORD:-root}" mysql mysql -u root "$@" ;;
  kafka)
    [ $# -gt 0 ] || die "kafka CLASS [ARGS]"
    words=()
    for word in "$@"; do
      # The brokers' addresses on the host mean nothing in a container.
      case "$word" in 127.0.0.1:*) word=kafka-1:9092 ;; esac
      words+=("$word")
    done
    dc exec -T kafka-1 /opt/kafka/bin/kafka-run-class.sh "${words[@]}"
    ;;
  dump)
    [ $# -gt 0 ] || die "dump DATABASE [ARGS]"
    db="$1"
    shift
    # Tablespaces and GTIDs are the server's; the event user may not ask for them.
    dc exec -T -e MYSQL_PWD="$DB_PASSWORD" mysql mysqldump -u event --single-transaction --skip-lock-tables \
      --no-tablespaces --set-gtid-purged=OFF "$@" "$db"
    ;;
  *) sed -n '2,4p' "${BASH_SOURCE[0]}" | sed 's/^# //'; exit 2 ;;
esac
