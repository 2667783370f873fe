#!/usr/bin/env bash
# The whole system without containers: the stores (stack.sh), and every program as a process of its own from target/, on loopback
# only. What compose.yaml is for an engine, with the same load balancer settings and the same alert rules.
#
#   system.sh install             HAProxy and Prometheus (as root, with apt-get); `up` does it when needed
#   system.sh up                  stores, users, tables, topics, keys; then what is not running, in order, each until it is ready
#   system.sh down [--wipe]       drains and stops all that `up` started, the stores last; --wipe also drops data and keys
#   system.sh status              one line a process; exit 0 all are ready, 1 some are not, 3 none is running
#   system.sh env                 addresses and settings, as shell exports
#   system.sh start|stop|restart NAME   `stop` is SIGTERM and waits: exit 0 if the program said so too
#   system.sh kill NAME           SIGKILL
#   system.sh scale PROGRAM N     so many of api-gateway (1 to 9), apply-worker or raffle-worker (0 to 12)
#
# NAME is api-gateway-1 and so on, admin-api, apply-worker-1, raffle-worker-1, load-balancer, prometheus. Where DATABASE_URL, REDIS_URL and
# KAFKA_BROKERS are all set, `up` takes those stores instead of its own. Settings (SYSTEM_*, PROFILE): README.md beside this file.
set -Eeuo pipefail
PATH="$PATH:/usr/sbin:/sbin"; export PATH # HAProxy lives there; a user's PATH often lacks it

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
REPO="$(dirname "$HERE")"
CMD="${1:-help}"

die() { printf 'system: %s\n' "$*" >&2; exit 2; } # 1 and 3 are answers of `status`
say() { printf 'system: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---- where, and with which settings ------------------------------------------------------------------------------

if [ -z "${SYSTEM_DIR:-}" ]; then
  SYSTEM_DIR="$(eval "$("$HERE/stack.sh" env)" && printf %s "$STACK_DIR/system")"
fi
mkdir -p "$SYSTEM_DIR" || die "cannot make $SYSTEM_DIR (set SYSTEM_DIR)"
SYSTEM_DIR="$(cd "$SYSTEM_DIR" && pwd -P)"

# `up` writes these down, so that every later command, from any shell, finds the same system.
SETTINGS=(SYSTEM_PUBLIC_PORT SYSTEM_ADMIN_PORT SYSTEM_PROMETHEUS_PORT SYSTEM_PORT SYSTEM_GATEWAYS SYSTEM_APPLY_WORKERS
  SYSTEM_RAFFLE_WORKERS PROFILE STORES DATABASE_URL REDIS_URL KAFKA_BROKERS KAFKA_TOPIC_PREFIX KAFKA_SESSION_TIMEOUT ALLOW_UNSAFE_LOG)
SETTINGS_FILE="$SYSTEM_DIR/settings"
given() { [ -n "${DATABASE_URL:-}" ] && [ -n "${REDIS_URL:-}" ] && [ -n "${KAFKA_BROKERS:-}" ]; }
if [ "$CMD" = up ]; then STORES=""; if given; then STORES=given; fi; fi
if [ -f "$SETTINGS_FILE" ]; then
  while IFS='=' read -r key value; do
    case " ${SETTINGS[*]} " in *" $key "*) ;; *) continue ;; esac
    # Only a start may change a setting; for everything else the running system is the truth.
    if [ "$CMD" = up ] && [ -n "${!key:-}" ]; then continue; fi
    printf -v "$key" %s "$value"
  done <"$SETTINGS_FILE"
fi
: "${SYSTEM_PUBLIC_PORT:=8080}"
: "${SYSTEM_ADMIN_PORT:=8081}"
: "${SYSTEM_PROMETHEUS_PORT:=9090}"
: "${SYSTEM_PORT:=18000}"           # the first of a hundred ports for everything inside
: "${SYSTEM_GATEWAYS:=2}" "${SYSTEM_APPLY_WORKERS:=1}" "${SYSTEM_RAFFLE_WORKERS:=1}"
: "${PROFILE:=release}"             # the folder of target/ with the programs
: "${STORES:=}" "${DATABASE_URL:=}" "${REDIS_URL:=}" "${KAFKA_BROKERS:=}"
: "${KAFKA_TOPIC_PREFIX:=}" "${KAFKA_SESSION_TIMEOUT:=10s}" "${ALLOW_UNSAFE_LOG:=false}"
: "${SYSTEM_WAIT:=60}"              # seconds a program may take to become ready
: "${SYSTEM_STOP_WAIT:=45}"         # seconds a program may take to stop before it is killed: its SHUTDOWN_BUDGET is 30 s

between() { # setting, value, least, most
  if ! [[ "$2" =~ ^[0-9]{1,5}$ ]] || [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then die "$1 is $3 to $4, not '$2'"; fi
}
for key in SYSTEM_PUBLIC_PORT SYSTEM_ADMIN_PORT SYSTEM_PROMETHEUS_PORT SYSTEM_PORT; do between "$key" "${!key}" 1 65400; done
between SYSTEM_GATEWAYS "$SYSTEM_GATEWAYS" 1 9
between SYSTEM_APPLY_WORKERS "$SYSTEM_APPLY_WORKERS" 0 12
between SYSTEM_RAFFLE_WORKERS "$SYSTEM_RAFFLE_WORKERS" 0 12

TARGET="${CARGO_TARGET_DIR:-$REPO/target}/$PROFILE"
KEYS="$SYSTEM_DIR/keys"
LB_PORT="$SYSTEM_PORT" LB_CONTROL_PORT="$((SYSTEM_PORT + 1))"

write_settings() { local k; (umask 077 && for k in "${SETTINGS[@]}"; do printf '%s=%s\n' "$k" "${!k}"; done >"$SETTINGS_FILE"); }

# In the order of their start.
names() {
  local i
  echo admin-api
  for ((i = 1; i <= SYSTEM_APPLY_WORKERS; i++)); do echo "apply-worker-$i"; done
  for ((i = 1; i <= SYSTEM_RAFFLE_WORKERS; i++)); do echo "raffle-worker-$i"; done
  for ((i = 1; i <= SYSTEM_GATEWAYS; i++)); do echo "api-gateway-$i"; done
  echo load-balancer
  echo prometheus
}

is_name() { names | grep -qxF -- "$1"; }
program_of() { case "$1" in *-[0-9] | *-1[0-2]) printf '%s\n' "${1%-*}" ;; *) printf '%s\n' "$1" ;; esac; }

# Where a process answers /readyz, or what is asked in its place.
ops_port() {
  case "$1" in
    api-gateway-*) echo "$((SYSTEM_PORT + 10 + ${1##*-}))" ;;
    admin-api) echo "$((SYSTEM_PORT + 20))" ;;
    apply-worker-*) echo "$((SYSTEM_PORT + 30 + ${1##*-}))" ;;
    raffle-worker-*) echo "$((SYSTEM_PORT + 50 + ${1##*-}))" ;;
    load-balancer) echo "$LB_PORT" ;;
    prometheus) echo "$SYSTEM_PROMETHEUS_PORT" ;;
  esac
}
gateway_port() { echo "$((SYSTEM_PORT + 70 + $1))"; }

# ---- processes ---------------------------------------------------------------------------------------------------

# The PID of NAME, if it is alive and the process started here: a PID may have been given to another one since.
pid_of() {
  local pid
  { read -r pid <"$SYSTEM_DIR/$1.pid"; } 2>/dev/null || return 1
  { tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null | grep -qxF "SYSTEM_PROCESS=$SYSTEM_DIR/$1" || return 1
  printf '%s\n' "$pid"
}

any_running() { local n; for n in $(names); do if pid_of "$n" >/dev/null; then return 0; fi; done; return 1; }

# One at a time: two shells must not start the same process twice.
lock() {
  exec 9>"$SYSTEM_DIR/lock"
  flock -w 300 9 || die "another system.sh holds $SYSTEM_DIR/lock"
}

# A session of its own, so that it outlives this shell. A shell stays with it to note how it ended.
spawn() {
  local name="$1" log="$SYSTEM_DIR/$1.log"
  shift
  if [ -s "$log" ]; then mv -f "$log" "$log.old"; fi
  rm -f "$SYSTEM_DIR/$name.pid" "$SYSTEM_DIR/$name.exit"
  # shellcheck disable=SC2016 # expanded by the shell that stays
  setsid bash -c 'here="$1"; shift
    SYSTEM_PROCESS="$here" "$@" & pid=$!
    trap "" TERM INT HUP
    echo "$pid" >"$here.pid.new"; mv "$here.pid.new" "$here.pid"
    rc=0; wait "$pid" || rc=$?
    echo "$rc" >"$here.exit.new"; mv "$here.exit.new" "$here.exit"' wait "$SYSTEM_DIR/$name" "$@" >"$log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  until [ -e "$SYSTEM_DIR/$name.pid" ]; do sleep 0.01; done
}

http_ok() (
  exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
  read -r -t 2 line <&3 && [[ "$line" == *" 200 "* ]]
) 2>/dev/null

is_ready() {
  local port
  port="$(ops_port "$1")"
  case "$1" in
    load-balancer) http_ok "$port" /healthz ;;
    prometheus) http_ok "$port" /-/ready ;;
    *) http_ok "$port" /readyz ;;
  esac
}

wait_ready() {
  local name="$1" end=$((SECONDS + SYSTEM_WAIT)) log="$SYSTEM_DIR/$1.log"
  until is_ready "$name"; do
    [ ! -e "$SYSTEM_DIR/$name.exit" ] || { tail -n 15 "$log" >&2; die "$name ended with $(cat "$SYSTEM_DIR/$name.exit"); see $log"; }
    [ "$SECONDS" -lt "$end" ] || { tail -n 15 "$log" >&2; die "$name is not ready after ${SYSTEM_WAIT} s; see $log"; }
    sleep 0.1
  done
}

port_free() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then die "port $2 is taken by another program (set $1)"; fi
}

# What the load balancer answers to a command; nothing where it does not run.
ask_load_balancer() (
  pid_of load-balancer >/dev/null || exit 0
  exec 3<>"/dev/tcp/127.0.0.1/$LB_CONTROL_PORT" || exit 0
  printf '%s\n' "$*" >&3
  cat <&3
) 2>/dev/null

gateway_ready() { ask_load_balancer "set server gateways/$1 state ready" >/dev/null; }

# Before a stop no new request goes to a gateway, and those that were given to it have their answers; streams end with
# the gateway. What a pod's preStop waits for.
drain_gateway() {
  local end=$((SECONDS + 5))
  ask_load_balancer "set server gateways/$1 state drain" >/dev/null
  # used_cur: connections with a request on them.
  while [ "$SECONDS" -lt "$end" ] && ask_load_balancer show servers conn gateways |
    awk -v name="gateways/$1" '/^#/ { for (i = 2; i <= NF; i++) if ($i == "used_cur") at = i - 1 }
      $1 == name { used = $at } END { exit !(used > 0) }'; do sleep 0.05; done
}

# Sends a signal and waits; says how it ended. 1: not as it should.
end_one() {
  local name="$1" signal="$2" pid t0 end rc killed=0
  pid="$(pid_of "$name")" || { rm -f "$SYSTEM_DIR/$name.pid"; return 0; }
  case "$name:$signal" in
    api-gateway-*:TERM) drain_gateway "$name" ;;
    load-balancer:TERM) signal=USR1 ;; # it ends what is open first
  esac
  t0="$(date +%s%N)" end=$((SECONDS + SYSTEM_STOP_WAIT))
  kill "-$signal" "$pid" 2>/dev/null || true
  until [ -e "$SYSTEM_DIR/$name.exit" ]; do
    if ! kill -0 "$pid" 2>/dev/null; then
      sleep 0.5
      [ -e "$SYSTEM_DIR/$name.exit" ] || echo unknown >"$SYSTEM_DIR/$name.exit"
    elif [ "$SECONDS" -ge "$end" ]; then
      say "$name ($pid) did not stop in ${SYSTEM_STOP_WAIT} s: killed"
      kill -KILL "$pid" 2>/dev/null || true
      killed=1 end=$((SECONDS + 10))
    fi
    sleep 0.02
  done
  rc="$(cat "$SYSTEM_DIR/$name.exit")"
  rm -f "$SYSTEM_DIR/$name.pid"
  say "$name ended with $rc after $(awk -v a="$t0" -v b="$(date +%s%N)" 'BEGIN { printf "%.1f", (b - a) / 1e9 }') s"
  case "$name:$signal:$rc" in
    *:KILL:* | *:0) return "$killed" ;;
    *) return 1 ;;
  esac
}

# ---- what each is started with -----------------------------------------------------------------------------------

# Each as the database user of its role, where the database is ours; with other stores as who the URL says.
database_url() {
  if [ "$STORES" = given ]; then printf %s "$DATABASE_URL"; else cat "$SYSTEM_DIR/users/urls/$1-url"; fi
}

start_program() {
  local name="$1" program index ops env
  program="$(program_of "$name")" index="${name##*-}"
  [ -x "$TARGET/$program" ] || die "$TARGET/$program is not built (make build, or PROFILE=debug)"
  ops="127.0.0.1:$(ops_port "$name")"
  port_free SYSTEM_PORT "${ops#*:}"
  env=(OPS_ADDR="$ops" KAFKA_BROKERS="$KAFKA_BROKERS" KAFKA_TOPIC_PREFIX="$KAFKA_TOPIC_PREFIX" ALLOW_UNSAFE_LOG="$ALLOW_UNSAFE_LOG"
    KAFKA_SESSION_TIMEOUT="$KAFKA_SESSION_TIMEOUT")
  case "$program" in
    api-gateway)
      port_free SYSTEM_PORT "$(gateway_port "$index")"
      env+=(DATABASE_URL="$(database_url gateway)" REDIS_URL="$REDIS_URL" AUTH_DEV_KEY_FILE="$KEYS/dev.key"
        PUBLIC_ADDR="127.0.0.1:$(gateway_port "$index")")
      ;;
    admin-api)
      port_free SYSTEM_ADMIN_PORT "$SYSTEM_ADMIN_PORT"
      env+=(DATABASE_URL="$(database_url admin)" KEY_STORE_URL="$(database_url key-store)" REDIS_URL="$REDIS_URL"
        AUTH_DEV_KEY_FILE="$KEYS/dev.key" KEY_ENCRYPTION_KEY_FILE="$KEYS/key-encryption.key" DECISION_KEY_FILE="$KEYS/decision.key"
        ADMIN_ADDR="127.0.0.1:$SYSTEM_ADMIN_PORT")
      ;;
    *)
      # The name outlives the process, as a StatefulSet's pod name does.
      env+=(DATABASE_URL="$(database_url worker)" DECISION_KEY_FILE="$KEYS/decision.key" KAFKA_GROUP_INSTANCE_ID="$name")
      ;;
  esac
  spawn "$name" env "${env[@]}" "$TARGET/$program"
}

# haproxy.cfg, with our addresses in place of Docker's. A gateway gets requests once `start` has seen it ready.
start_load_balancer() {
  local servers="" i files connections
  port_free SYSTEM_PUBLIC_PORT "$SYSTEM_PUBLIC_PORT"
  port_free SYSTEM_PORT "$LB_PORT"
  port_free SYSTEM_PORT "$LB_CONTROL_PORT"
  for i in {1..9}; do
    servers+="    server api-gateway-$i 127.0.0.1:$(gateway_port "$i") check port $(ops_port "api-gateway-$i") disabled"$'\n'
  done
  # Two files a connection.
  files="$(ulimit -Hn)"
  ulimit -n "$files"
  [ "$files" != unlimited ] || files=1000000
  connections=$(((files - 200) / 2))
  [ "$connections" -le 20000 ] || connections=20000
  awk -v public="$SYSTEM_PUBLIC_PORT" -v own="$LB_PORT" -v control="$LB_CONTROL_PORT" -v servers="$servers" -v connections="$connections" '
    /^resolvers /, /^$/ { next }
    /server-template/ { printf "%s", servers; next }
    /^    maxconn 20000/ { print "    maxconn " connections; print "    stats socket ipv4@127.0.0.1:" control " level admin"; print "    hard-stop-after 20s"; next }
    { sub(/bind :8080/, "bind 127.0.0.1:" public); sub(/bind :8404/, "bind 127.0.0.1:" own); print }
  ' "$HERE/haproxy/haproxy.cfg" >"$SYSTEM_DIR/haproxy.cfg"
  spawn load-balancer haproxy -db -f "$SYSTEM_DIR/haproxy.cfg"
}

# The labels are those that compose's Prometheus and the PodMonitor give.
write_targets() {
  local n first=1
  {
    printf '[\n'
    for n in $(names); do
      case "$n" in load-balancer | prometheus) continue ;; esac
      [ "$first" = 1 ] || printf ',\n'
      first=0
      printf '  {"targets": ["127.0.0.1:%s"], "labels": {"app_kubernetes_io_name": "%s", "pod": "%s"}}' "$(ops_port "$n")" "$(program_of "$n")" "$n"
    done
    printf '\n]\n'
  } >"$SYSTEM_DIR/targets.json.new"
  mv "$SYSTEM_DIR/targets.json.new" "$SYSTEM_DIR/targets.json"
}

start_prometheus() {
  port_free SYSTEM_PROMETHEUS_PORT "$SYSTEM_PROMETHEUS_PORT"
  write_targets
  cat >"$SYSTEM_DIR/prometheus.yaml" <<END
global: { scrape_interval: 5s, evaluation_interval: 5s }
rule_files: ["$HERE/prometheus/alerts.yaml"]
scrape_configs:
  - job_name: event-system
    file_sd_configs: [{ files: ["$SYSTEM_DIR/targets.json"], refresh_interval: 5s }]
  - job_name: haproxy
    static_configs: [{ targets: ["127.0.0.1:$LB_PORT"] }]
  - job_name: prometheus
    static_configs: [{ targets: ["127.0.0.1:$SYSTEM_PROMETHEUS_PORT"] }]
END
  spawn prometheus prometheus --config.file="$SYSTEM_DIR/prometheus.yaml" --storage.tsdb.path="$SYSTEM_DIR/prometheus" \
    --storage.tsdb.retention.time=15d --web.listen-address="127.0.0.1:$SYSTEM_PROMETHEUS_PORT"
}

start_one() {
  if ! pid_of "$1" >/dev/null; then
    case "$1" in
      load-balancer) start_load_balancer ;;
      prometheus) start_prometheus ;;
      *) start_program "$1" ;;
    esac
  fi
  wait_ready "$1"
  case "$1" in
    api-gateway-*) gateway_ready "$1" ;;
    load-balancer) local n; for n in $(names); do case "$n" in api-gateway-*) gateway_ready "$n" ;; esac; done ;;
  esac
}

# ---- install, prepare --------------------------------------------------------------------------------------------

missing_packages() {
  have haproxy || echo haproxy
  have prometheus || echo prometheus
}

install_all() {
  local need
  mapfile -t need < <(missing_packages)
  [ "${#need[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! have apt-get; then die "missing: ${need[*]} (as root: apt-get install ${need[*]})"; fi
  say "installing ${need[*]}"
  # Run level 1 keeps the packages from starting servers of their own.
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${need[@]}"; } \
    >"$SYSTEM_DIR/apt.log" 2>&1 </dev/null || { tail -n 15 "$SYSTEM_DIR/apt.log" >&2; die "apt-get failed; see $SYSTEM_DIR/apt.log"; }
}

# The stores: the caller's, or the native stack, which `down` stops if this started it.
find_stores() {
  local rc=0
  [ "$STORES" != given ] || return 0
  "$HERE/stack.sh" status >/dev/null 2>&1 || rc=$?
  if [ "$rc" = 3 ]; then STORES=started; elif [ "$STORES" != started ]; then STORES=found; fi
  "$HERE/stack.sh" up
  eval "$("$HERE/stack.sh" env)"
  # One broker is less safe than the programs accept unless they are told to.
  case "$KAFKA_BROKERS" in *,*) ;; *) ALLOW_UNSAFE_LOG=true ;; esac
}

prepare() {
  local users=(env SECRETS="$SYSTEM_DIR/users" HOST=127.0.0.1 "$REPO/migrations/users/users.sh") server
  local tool=(env KAFKA_BROKERS="$KAFKA_BROKERS" KAFKA_TOPIC_PREFIX="$KAFKA_TOPIC_PREFIX" ALLOW_UNSAFE_LOG="$ALLOW_UNSAFE_LOG" "$TARGET/event-system")
  [ -x "$TARGET/event-system" ] || die "$TARGET/event-system is not built (make build, or PROFILE=debug)"
  {
    if [ "$STORES" != given ]; then
      server="${DATABASE_URL#*@}"
      users=("${users[0]}" DATABASE="${server#*/}" "${users[@]:1}")
      "${users[@]}" accounts | "$HERE/stack.sh" sqlroot
      "${users[@]}" urls "${server%%/*}"
    fi
    DATABASE_URL="$(database_url owner)" "${tool[@]}" migrate
    if [ "$STORES" != given ]; then "${users[@]}" grants | "$HERE/stack.sh" sqlroot; fi
    "${tool[@]}" topics create
    "${tool[@]}" keys init --dir "$KEYS"
  } >"$SYSTEM_DIR/prepare.log" 2>&1 || { tail -n 15 "$SYSTEM_DIR/prepare.log" >&2; die "tables, topics or keys could not be made; see $SYSTEM_DIR/prepare.log"; }
}

# ---- commands ----------------------------------------------------------------------------------------------------

up() {
  local n t0
  t0="$(date +%s%N)"
  install_all
  lock
  find_stores
  write_settings
  prepare
  for n in $(names); do start_one "$n"; done
  write_targets
  awk -v a="$t0" -v b="$(date +%s%N)" 'BEGIN { printf "system: ready after %.1f s\n", (b - a) / 1e9 }'
  cat <<END
public      http://127.0.0.1:$SYSTEM_PUBLIC_PORT (load balancer, $SYSTEM_GATEWAYS gateways)
admin       http://127.0.0.1:$SYSTEM_ADMIN_PORT
prometheus  http://127.0.0.1:$SYSTEM_PROMETHEUS_PORT
logs, keys  $SYSTEM_DIR
try         curl -s http://127.0.0.1:$SYSTEM_PUBLIC_PORT/v1/events
            eval "\$(${BASH_SOURCE[0]} env)"; $TARGET/event-system token --member 42
END
}

# No new requests first; then gateways, which hold members' requests; then what decides.
down() {
  local what="${1:-}" bad=0 n all
  [ -z "$what" ] || [ "$what" = --wipe ] || die "down [--wipe]"
  lock
  mapfile -t all < <(names | tac | grep -v load-balancer)
  end_one load-balancer TERM || bad=1
  for n in "${all[@]}"; do end_one "$n" TERM || bad=1; done
  if [ "$STORES" = started ]; then "$HERE/stack.sh" down "$@"; fi
  if [ "$what" = --wipe ]; then
    rm -rf "$SYSTEM_DIR"/{keys,users,prometheus,settings} "$SYSTEM_DIR"/*.{log,old,exit,cfg,yaml,json}
    say "stopped, data and keys dropped"
  else
    say "stopped"
  fi
  return "$bad"
}

status() {
  local n pid ok running=0 bad=0
  for n in $(names); do
    if pid="$(pid_of "$n")"; then
      running=1
      if is_ready "$n"; then ok="ready"; else ok="not ready"; bad=1; fi
      printf '%-15s pid %-7s %-9s ops port %-5s RSS %s\n' "$n" "$pid" "$ok" "$(ops_port "$n")" "$(awk '/^VmRSS/ { printf "%d MiB", $2 / 1024 }' "/proc/$pid/status")"
    else
      printf '%-15s not running%s\n' "$n" "$([ ! -e "$SYSTEM_DIR/$n.exit" ] || echo ", ended with $(cat "$SYSTEM_DIR/$n.exit")")"
      bad=1
    fi
  done
  [ "$running" = 1 ] || return 3
  return "$bad"
}

print_env() {
  [ -f "$SETTINGS_FILE" ] || die "no system in $SYSTEM_DIR yet; run: ${BASH_SOURCE[0]} up"
  local url="$DATABASE_URL"
  [ "$STORES" = given ] || url="$(database_url operator)"
  printf 'export SYSTEM_DIR=%q\n' "$SYSTEM_DIR"
  printf 'export PUBLIC_URL=%q\n' "http://127.0.0.1:$SYSTEM_PUBLIC_PORT"
  printf 'export ADMIN_URL=%q\n' "http://127.0.0.1:$SYSTEM_ADMIN_PORT"
  printf 'export PROMETHEUS_URL=%q\n' "http://127.0.0.1:$SYSTEM_PROMETHEUS_PORT"
  # For event-system's tools, as the operator's user.
  printf 'export DATABASE_URL=%q\n' "$url"
  printf 'export KAFKA_BROKERS=%q KAFKA_TOPIC_PREFIX=%q ALLOW_UNSAFE_LOG=%q\n' "$KAFKA_BROKERS" "$KAFKA_TOPIC_PREFIX" "$ALLOW_UNSAFE_LOG"
  printf 'export REDIS_URL=%q\n' "$REDIS_URL"
  printf 'export AUTH_DEV_KEY_FILE=%q DECISION_KEY_FILE=%q\n' "$KEYS/dev.key" "$KEYS/decision.key"
}

scale() {
  local program="${1:-}" count="${2:-}" key was i bad=0
  case "$program" in
    api-gateway) key=SYSTEM_GATEWAYS; between "scale $program" "$count" 1 9 ;;
    apply-worker) key=SYSTEM_APPLY_WORKERS; between "scale $program" "$count" 0 12 ;;
    raffle-worker) key=SYSTEM_RAFFLE_WORKERS; between "scale $program" "$count" 0 12 ;;
    *) die "scale PROGRAM N: api-gateway, apply-worker or raffle-worker" ;;
  esac
  [ -f "$SETTINGS_FILE" ] || die "no system in $SYSTEM_DIR yet; run: ${BASH_SOURCE[0]} up"
  was="${!key}"
  for ((i = was; i > count; i--)); do end_one "$program-$i" TERM || bad=1; done
  printf -v "$key" %s "$count"
  write_settings
  for ((i = was + 1; i <= count; i++)); do start_one "$program-$i"; done
  write_targets
  return "$bad"
}

process_name() {
  [ -f "$SETTINGS_FILE" ] || die "no system in $SYSTEM_DIR yet; run: ${BASH_SOURCE[0]} up"
  is_name "${1:-}" || die "$CMD NAME: one of $(names | paste -sd ' ')"
}

[ $# -eq 0 ] || shift
case "$CMD" in
  install) install_all ;;
  missing) missing_packages ;; # for tests: what `install` would have to install
  up) up ;;
  down) down "$@" ;;
  status) status ;;
  env) print_env ;;
  start) process_name "$@"; lock; start_one "$1" ;;
  stop) process_name "$@"; lock; end_one "$1" TERM ;;
  restart) process_name "$@"; lock; bad=0; end_one "$1" TERM || bad=1; start_one "$1"; exit "$bad" ;;
  kill) process_name "$@"; lock; end_one "$1" KILL ;;
  scale) lock; scale "$@" ;;
  help | -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" ;;
  *) die "unknown command '$CMD'; see: ${BASH_SOURCE[0]} help" ;;
esac
