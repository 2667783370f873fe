#!/usr/bin/env bash
# The real stack without containers: MariaDB, Redis and Apache Kafka (KRaft) as plain processes, on loopback only.
#
#   stack.sh install              packages (as root, with apt-get) and the Kafka jars (Maven); `up` does it when needed
#   stack.sh up                   start what is not running and wait until every server answers
#   stack.sh down [--wipe]        stop what this script started; --wipe also drops the data
#   stack.sh status               one line a server; exit 0 all answer, 1 some do not, 3 none is running
#   stack.sh env                  the addresses, as shell exports
#   stack.sh start|stop|restart NAME     `start` and `restart` wait until NAME answers
#   stack.sh kill|pause|resume NAME      SIGKILL, SIGSTOP, SIGCONT: for fault tests
#   stack.sh sql|sqlroot [ARGS]   MariaDB client as the event user, or as root over the socket
#   stack.sh dump DATABASE [ARGS] a consistent dump as SQL, by MariaDB's own program, as the event user
#   stack.sh kafka CLASS [ARGS]   a Kafka tool, e.g. kafka org.apache.kafka.tools.TopicCommand --bootstrap-server ... --list
#
# NAME is mariadb, redis, kafka-1 (kafka-2, kafka-3). Settings (STACK_*) are listed in README.md beside this file.
set -Eeuo pipefail
PATH="$PATH:/usr/sbin:/sbin"; export PATH # mariadbd lives there; a user's PATH often lacks it

SCRIPT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)/$(basename "${BASH_SOURCE[0]}")"
REPO="$(dirname "$(dirname "$SCRIPT")")"
CMD="${1:-help}"

die() { printf 'stack: %s\n' "$*" >&2; exit 2; } # 1 and 3 are answers of `status`
say() { printf 'stack: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---- where, and with which settings ------------------------------------------------------------------------------

# Run by root, MariaDB drops to this user.
DB_OS_USER="$(id -un)"
[ "$(id -u)" != 0 ] || DB_OS_USER="${STACK_USER:-mysql}"

# Can MariaDB's user walk to this folder? Root's own home, for one, is closed to it.
reachable() {
  [ "$(id -u)" = 0 ] || return 0
  local d="$1"
  while :; do
    if [ -e "$d" ] && (((8#$(stat -c %a "$d") & 1) == 0)); then return 1; fi
    [ "$d" != / ] || return 0
    d="$(dirname "$d")"
  done
}

# A socket's path has 107 bytes at most.
socket_fits() { local s="$1/mariadb/my.sock"; [ "${#s}" -le 107 ]; }

if [ -z "${STACK_DIR:-}" ]; then
  STACK_DIR="$REPO/.stack"
  if ! reachable "$REPO" || ! socket_fits "$STACK_DIR"; then
    STACK_DIR="${TMPDIR:-/tmp}/event-stack-$(printf %s "$REPO" | sha256sum | cut -c1-12)"
  fi
fi
mkdir -p "$STACK_DIR" || die "cannot make $STACK_DIR (set STACK_DIR)"
STACK_DIR="$(cd "$STACK_DIR" && pwd -P)"
[ -O "$STACK_DIR" ] || die "$STACK_DIR belongs to somebody else (set STACK_DIR)"
if [ "$(id -u)" = 0 ]; then chmod a+x "$STACK_DIR"; fi
reachable "$STACK_DIR" || die "user $DB_OS_USER cannot reach $STACK_DIR: a folder above it is closed (set STACK_DIR)"
socket_fits "$STACK_DIR" || die "the path of STACK_DIR is too long for a socket: $STACK_DIR"
SOCK="$STACK_DIR/mariadb/my.sock"

# `up` writes these down, so that every later command, from any shell, finds the same servers.
SETTINGS=(STACK_BROKERS STACK_MYSQL_PORT STACK_REDIS_PORT STACK_KAFKA_PORT STACK_KAFKA_CTRL_PORT STACK_DB STACK_DB_USER
  STACK_DB_PASS STACK_DURABLE STACK_KAFKA_FLUSH STACK_MYSQL_BUFFER STACK_KAFKA_HEAP STACK_KAFKA_VERSION STACK_KAFKA_JARS
  STACK_SECURED)
SETTINGS_FILE="$STACK_DIR/settings"
if [ -f "$SETTINGS_FILE" ]; then
  while IFS='=' read -r key value; do
    case " ${SETTINGS[*]} " in *" $key "*) ;; *) continue ;; esac
    # Only a start may change a setting; for everything else the running stack is the truth.
    if [ "$CMD" = up ] && [ -n "${!key:-}" ]; then continue; fi
    printf -v "$key" %s "$value"
  done <"$SETTINGS_FILE"
fi
: "${STACK_BROKERS:=1}"
: "${STACK_MYSQL_PORT:=13306}"
: "${STACK_REDIS_PORT:=16379}"
: "${STACK_KAFKA_PORT:=19092}"      # broker n listens on this + n - 1
: "${STACK_KAFKA_CTRL_PORT:=19192}" # so do the controllers
: "${STACK_DB:=events}"
: "${STACK_DB_USER:=event}"
: "${STACK_DB_PASS:=event}"
: "${STACK_DURABLE:=1}"             # 1: MariaDB syncs its logs at every commit, as production must
: "${STACK_KAFKA_FLUSH:=0}"         # 1: Kafka syncs every batch before the ack (one broker's answer to a power cut)
: "${STACK_MYSQL_BUFFER:=512M}"
: "${STACK_KAFKA_HEAP:=384m}"
: "${STACK_KAFKA_VERSION:=4.3.1}"
: "${STACK_KAFKA_JARS:=$STACK_DIR/kafka-jars-$STACK_KAFKA_VERSION}" # several stacks may share them
: "${STACK_SECURED:=0}"             # 1: TLS and users to every server, see secured.sh
: "${STACK_WAIT:=90}"               # seconds a server may take to answer
: "${STACK_STOP_WAIT:=30}"          # seconds a server may take to stop before it is killed

case "$STACK_BROKERS" in 1 | 3) ;; *) die "STACK_BROKERS is 1 or 3, not '$STACK_BROKERS'" ;; esac
for key in STACK_MYSQL_PORT STACK_REDIS_PORT STACK_KAFKA_PORT STACK_KAFKA_CTRL_PORT; do
  [[ "${!key}" =~ ^[0-9]+$ ]] || die "$key is not a port: '${!key}'"
done
for key in STACK_DB STACK_DB_USER STACK_DB_PASS; do
  [[ "${!key}" =~ ^[A-Za-z0-9_]+$ ]] || die "$key has letters, digits and _ only" # they go into SQL and an URL
done

case "$STACK_SECURED" in 0 | 1) ;; *) die "STACK_SECURED is 0 or 1, not '$STACK_SECURED'" ;; esac

JARS="$STACK_KAFKA_JARS"
SERVERS=(mariadb redis)
BOOTSTRAP=""
for ((i = 1; i <= STACK_BROKERS; i++)); do
  SERVERS+=("kafka-$i")
  BOOTSTRAP+="${BOOTSTRAP:+,}127.0.0.1:$((STACK_KAFKA_PORT + i - 1))"
done

# Secured, a broker has a second port, for client certificates.
cert_port() { echo "$((STACK_KAFKA_PORT + 10 + $1 - 1))"; }
secured() { [ "$STACK_SECURED" = 1 ]; }
# shellcheck source=compose/secured.sh
. "$(dirname "$SCRIPT")/secured.sh"

settings_text() { local k; for k in "${SETTINGS[@]}"; do printf '%s=%s\n' "$k" "${!k}"; done; }

# ---- processes ---------------------------------------------------------------------------------------------------

# The PID of NAME, if it is alive and still the program started here: a PID may have been given to another one since.
pid_of() {
  local pid cmd
  { read -r pid <"$STACK_DIR/$1.pid"; } 2>/dev/null || return 1
  cmd="$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null)" || return 1 # a zombie's is empty and matches nothing
  case "$1:$cmd" in
    mariadb:*mariadbd*"$STACK_DIR/mariadb/"*) ;;
    # Redis rewrites its command line, so its folder tells whose it is.
    redis:*redis-server*) [ "$(readlink "/proc/$pid/cwd")" = "$STACK_DIR/redis" ] || return 1 ;;
    kafka-*:*kafka.Kafka*"$STACK_DIR/$1/"*) ;;
    *) return 1 ;;
  esac
  printf '%s\n' "$pid"
}

any_running() { local n; for n in "${SERVERS[@]}"; do if pid_of "$n" >/dev/null; then return 0; fi; done; return 1; }

# One at a time: two shells must not start the same server twice.
lock() {
  exec 9>"$STACK_DIR/lock"
  flock -w 300 9 || die "another stack.sh holds $STACK_DIR/lock"
}

# A session of its own, so that the server outlives this shell; none of our files, so that no pipe of a caller stays open.
spawn() {
  local name="$1" log="$STACK_DIR/$1.log" pid i
  shift
  if [ -s "$log" ]; then mv -f "$log" "$log.old"; fi
  setsid "$@" >"$log" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- &
  pid=$!
  echo "$pid" >"$STACK_DIR/$name.pid"
  # Until it has become the program (and Redis has changed into its folder), pid_of would not know it as ours.
  for ((i = 0; i < 200; i++)); do
    if pid_of "$name" >/dev/null || ! kill -0 "$pid" 2>/dev/null; then return 0; fi
    sleep 0.01
  done
}

port_free() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then die "port $2 is taken by another program (set $1)"; fi
}

wait_gone() {
  local name="$1" pid="$2" end=$((SECONDS + STACK_STOP_WAIT))
  while pid_of "$name" >/dev/null; do
    if [ "$SECONDS" -ge "$end" ]; then
      say "$name ($pid) did not stop in ${STACK_STOP_WAIT} s: killed"
      kill -KILL "$pid" 2>/dev/null || true
      end=$((SECONDS + 10))
    fi
    sleep 0.05
  done
  rm -f "$STACK_DIR/$name.pid"
}

# All get the signal first: a Kafka controller that loses its quorum before it may leave would wait for it.
stop_servers() {
  local sig="$1" n pid stopping=()
  shift
  for n in "$@"; do
    if pid="$(pid_of "$n")"; then
      kill "-$sig" "$pid" 2>/dev/null || true
      kill -CONT "$pid" 2>/dev/null || true # a paused process takes no TERM
      stopping+=("$n:$pid")
    else
      rm -f "$STACK_DIR/$n.pid"
    fi
  done
  for n in ${stopping[@]+"${stopping[@]}"}; do wait_gone "${n%%:*}" "${n##*:}"; done
}

wait_ready() {
  local name="$1" end=$((SECONDS + STACK_WAIT)) log="$STACK_DIR/$1.log"
  until answers "$name"; do
    pid_of "$name" >/dev/null || { tail -n 15 "$log" >&2; die "$name ended while starting; see $log"; }
    [ "$SECONDS" -lt "$end" ] || { tail -n 15 "$log" >&2; die "$name did not answer in ${STACK_WAIT} s; see $log"; }
    sleep 0.1
  done
}

# ---- servers -----------------------------------------------------------------------------------------------------

# A real request each time: a paused process still accepts connections.
answers() {
  case "$1" in
    mariadb) [ "$(timeout 2 mariadb --no-defaults -u root -S "$SOCK" -BNe 'SELECT 1' 2>/dev/null)" = 1 ] ;;
    redis) [ "$(redis_ping 2>/dev/null)" = PONG ] ;;
    kafka-*) grep -qs 'Kafka Server started' "$STACK_DIR/$1.log" && kafka_answers "$((STACK_KAFKA_PORT + ${1#kafka-} - 1))" ;;
  esac
}

redis_ping() {
  if secured; then secured_redis_ping; else timeout 2 redis-cli -h 127.0.0.1 -p "$STACK_REDIS_PORT" ping; fi
}

# ApiVersions by hand: length 10, API 18, version 0, correlation 1, no client id. A JVM for each question would cost a second.
kafka_answers() (
  ask='\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff'
  if secured; then
    # openssl ends by itself only with its time: the answer is not waited for behind it.
    exec 3< <(printf '%b' "$ask" | timeout 2 openssl s_client -quiet -CAfile "$TLS/ca.crt" -connect "127.0.0.1:$1")
  else
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf '%b' "$ask" >&3
  fi
  [ "$(timeout 2 head -c 8 <&3 | wc -c)" -eq 8 ]
) 2>/dev/null

start_mariadb() {
  port_free STACK_MYSQL_PORT "$STACK_MYSQL_PORT"
  local home="$STACK_DIR/mariadb" user=() tls=() sync=(--innodb-flush-log-at-trx-commit=2 --sync-binlog=0)
  [ "$STACK_DURABLE" != 1 ] || sync=(--innodb-flush-log-at-trx-commit=1 --sync-binlog=1)
  mkdir -p "$home/tmp"
  if [ "$(id -u)" = 0 ]; then
    id "$DB_OS_USER" >/dev/null 2>&1 || die "no user $DB_OS_USER for MariaDB to run as (set STACK_USER)"
    chown "$DB_OS_USER" "$home" "$home/tmp"
    user=(--user="$DB_OS_USER")
  fi
  chmod 700 "$home" # root's login has no password: the socket is for this folder's owner
  if [ ! -e "$home/ready" ]; then
    rm -rf "$home/data"
    mariadb-install-db --no-defaults ${user[@]+"${user[@]}"} --datadir="$home/data" --skip-test-db \
      --auth-root-authentication-method=normal >"$STACK_DIR/mariadb-install.log" 2>&1 ||
      { tail -n 15 "$STACK_DIR/mariadb-install.log" >&2; die "mariadb-install-db failed"; }
  fi
  ! secured || mapfile -t tls < <(secured_mariadb_options)
  # Triggers with the binary log on need trust_function_creators.
  spawn mariadb mariadbd --no-defaults ${user[@]+"${user[@]}"} --datadir="$home/data" --tmpdir="$home/tmp" \
    --socket="$SOCK" --pid-file="$home/mariadbd.pid" --bind-address=127.0.0.1 --port="$STACK_MYSQL_PORT" \
    --skip-name-resolve --character-set-server=utf8mb4 --collation-server=utf8mb4_bin --max-connections=500 \
    --innodb-buffer-pool-size="$STACK_MYSQL_BUFFER" --innodb-log-file-size=256M --max-allowed-packet=64M \
    --server-id=1 --log-bin="$home/data/binlog" --binlog-format=ROW --max-binlog-size=256M \
    --binlog-expire-logs-seconds=86400 --log-bin-trust-function-creators=1 "${sync[@]}" ${tls[@]+"${tls[@]}"}
}

sqlroot() { mariadb --no-defaults -u root -S "$SOCK" "$@"; }

# The user may make databases of its own, one a test, as long as their names start with the database's name.
prepare_mariadb() {
  [ -e "$STACK_DIR/mariadb/ready" ] && return 0
  sqlroot -e "
    DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');
    FLUSH PRIVILEGES;
    CREATE DATABASE IF NOT EXISTS \`$STACK_DB\`;
    CREATE USER IF NOT EXISTS '$STACK_DB_USER'@'127.0.0.1' IDENTIFIED BY '$STACK_DB_PASS';
    CREATE USER IF NOT EXISTS '$STACK_DB_USER'@'localhost' IDENTIFIED BY '$STACK_DB_PASS';
    GRANT ALL ON \`$STACK_DB%\`.* TO '$STACK_DB_USER'@'127.0.0.1', '$STACK_DB_USER'@'localhost';" ||
    die "MariaDB answers, but its database and user could not be made"
  touch "$STACK_DIR/mariadb/ready"
}

# Nothing is kept: to the system Redis is a hint, so losing it must be harmless.
start_redis() {
  port_free STACK_REDIS_PORT "$STACK_REDIS_PORT"
  mkdir -p "$STACK_DIR/redis"
  local ports=(--port "$STACK_REDIS_PORT")
  ! secured || mapfile -t ports < <(secured_redis_options)
  spawn redis redis-server "${ports[@]}" --bind 127.0.0.1 --dir "$STACK_DIR/redis" --daemonize no \
    --databases 256 --save "" --appendonly no
}

plain_kafka_config() { # BROKER_PORT CONTROLLER_PORT
  cat <<END
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
END
}

kafka_config() {
  local n="$1" home="$STACK_DIR/kafka-$1" port=$((STACK_KAFKA_PORT + $1 - 1)) ctrl=$((STACK_KAFKA_CTRL_PORT + $1 - 1)) i controllers=""
  for ((i = 0; i < STACK_BROKERS; i++)); do controllers+="${controllers:+,}127.0.0.1:$((STACK_KAFKA_CTRL_PORT + i))"; done
  mkdir -p "$home"
  # Short sessions and retention by the second keep tests short. A killed broker may come back only after its old session
  # (broker.session.timeout.ms, 9 s unless told) has ended.
  cat >"$home/server.properties" <<END
process.roles=broker,controller
node.id=$n
controller.quorum.bootstrap.servers=$controllers
$(if secured; then secured_kafka_config "$port" "$(cert_port "$1")" "$ctrl"; else plain_kafka_config "$port" "$ctrl"; fi)
controller.listener.names=CONTROLLER
log.dirs=$home/data
num.partitions=12
auto.create.topics.enable=false
delete.topic.enable=true
unclean.leader.election.enable=false
default.replication.factor=$STACK_BROKERS
min.insync.replicas=$((STACK_BROKERS == 3 ? 2 : 1))
offsets.topic.replication.factor=$STACK_BROKERS
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$STACK_BROKERS
transaction.state.log.min.isr=$((STACK_BROKERS == 3 ? 2 : 1))
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$STACK_BROKERS
share.coordinator.state.topic.min.isr=$((STACK_BROKERS == 3 ? 2 : 1))
share.coordinator.state.topic.num.partitions=4
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=2000
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
log.initial.task.delay.ms=1000
$([ "$STACK_KAFKA_FLUSH" != 1 ] || echo log.flush.interval.messages=1)
END
  cat >"$home/log4j2.properties" <<'END'
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=info
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
END
  # Tools print their answers; beside them only errors are of interest.
  sed -e 's/level=info/level=error/' -e 's/^appender.out.name=out$/&\nappender.out.target=SYSTEM_ERR/' \
    "$home/log4j2.properties" >"$home/tools.properties"
}

kafka_tool() {
  java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile="$STACK_DIR/kafka-1/tools.properties" -cp "$JARS/*" "$@"
}

# 16 random bytes in Kafka's spelling; ids that start with - would read as an option.
kafka_uuid() { printf 'A%s\n' "$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c2-22)" | sed 's/.$/A/'; }

format_kafka() {
  local n controllers="" cluster users=() pids=()
  cluster="$(kafka_uuid)"
  ! secured || mapfile -t users < <(secured_scram_users)
  for ((n = 1; n <= STACK_BROKERS; n++)); do
    kafka_config "$n"
    rm -rf "$STACK_DIR/kafka-$n/data"
    controllers+="${controllers:+,}$n@127.0.0.1:$((STACK_KAFKA_CTRL_PORT + n - 1)):$(kafka_uuid)"
  done
  for ((n = 1; n <= STACK_BROKERS; n++)); do
    kafka_tool kafka.tools.StorageTool format --cluster-id "$cluster" --initial-controllers "$controllers" \
      --config "$STACK_DIR/kafka-$n/server.properties" ${users[@]+"${users[@]}"} >"$STACK_DIR/kafka-format-$n.log" 2>&1 &
    pids+=($!)
  done
  for ((n = 1; n <= STACK_BROKERS; n++)); do
    wait "${pids[n - 1]}" || { tail -n 15 "$STACK_DIR/kafka-format-$n.log" >&2; die "formatting kafka-$n failed"; }
  done
  echo "$STACK_BROKERS" >"$STACK_DIR/kafka-formatted"
}

start_kafka() {
  local home="$STACK_DIR/kafka-$1"
  port_free STACK_KAFKA_PORT "$((STACK_KAFKA_PORT + $1 - 1))"
  port_free STACK_KAFKA_CTRL_PORT "$((STACK_KAFKA_CTRL_PORT + $1 - 1))"
  ! secured || port_free STACK_KAFKA_PORT+10 "$(cert_port "$1")"
  kafka_config "$1"
  spawn "kafka-$1" java -Xms"$STACK_KAFKA_HEAP" -Xmx"$STACK_KAFKA_HEAP" -XX:+UseG1GC -Djava.awt.headless=true \
    -Dlog4j2.configurationFile="$home/log4j2.properties" -cp "$JARS/*" kafka.Kafka "$home/server.properties"
}

launch() {
  local pid
  if pid="$(pid_of "$1")"; then kill -CONT "$pid"; return 0; fi
  case "$1" in
    mariadb) start_mariadb ;;
    redis) start_redis ;;
    kafka-*) start_kafka "${1#kafka-}" ;;
  esac
}

start_one() {
  [ -f "$SETTINGS_FILE" ] || die "no stack in $STACK_DIR yet; run: $SCRIPT up"
  launch "$1"
  wait_ready "$1"
}

# ---- install -----------------------------------------------------------------------------------------------------

missing_packages() {
  have mariadbd && have mariadb || echo mariadb-server
  have redis-server && have redis-cli || echo redis-server
  have java || echo openjdk-17-jre-headless
  ! secured || have openssl || echo openssl
  if [ ! -e "$JARS/.complete" ] && ! have mvn; then echo maven; fi
}

install_all() {
  local need
  mapfile -t need < <(missing_packages)
  if [ "${#need[@]}" -gt 0 ]; then
    if [ "$(id -u)" != 0 ] || ! have apt-get; then die "missing: ${need[*]} (as root: apt-get install ${need[*]})"; fi
    say "installing ${need[*]}"
    # Run level 1 keeps the packages from starting servers of their own.
    { apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${need[@]}"; } \
      >"$STACK_DIR/apt.log" 2>&1 </dev/null || { tail -n 15 "$STACK_DIR/apt.log" >&2; die "apt-get failed; see $STACK_DIR/apt.log"; }
  fi
  [ -e "$JARS/.complete" ] || fetch_jars
}

fetch_jars() {
  local build="$STACK_DIR/kafka-pom"
  say "fetching Kafka $STACK_KAFKA_VERSION with Maven"
  rm -rf "$build" "$JARS"
  mkdir -p "$build" "$JARS"
  # Kafka's tools name the Connect runtime, which nothing here runs; the jars bring no logger of their own.
  cat >"$build/pom.xml" <<END
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>event-system</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$STACK_KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$STACK_KAFKA_VERSION</version>
      <exclusions>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-api</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-json</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId></exclusion>
        <exclusion><groupId>org.apache.kafka</groupId><artifactId>connect-transforms</artifactId></exclusion>
      </exclusions>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.5</version>
    </dependency>
  </dependencies>
</project>
END
  mvn -B -q -f "$build/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$JARS" \
    >"$STACK_DIR/maven.log" 2>&1 </dev/null || { tail -n 15 "$STACK_DIR/maven.log" >&2; die "Maven failed; see $STACK_DIR/maven.log"; }
  touch "$JARS/.complete"
}

# ---- commands ----------------------------------------------------------------------------------------------------

up() {
  local n t0
  install_all
  lock
  t0="$(date +%s%N)"
  if any_running && ! cmp -s <(settings_text) "$SETTINGS_FILE"; then
    die "already running with other settings ($SETTINGS_FILE); run: $SCRIPT down"
  fi
  if [ -e "$STACK_DIR/kafka-formatted" ]; then
    [ "$(cat "$STACK_DIR/kafka-formatted")" = "$STACK_BROKERS" ] ||
      die "the data is that of $(cat "$STACK_DIR/kafka-formatted") broker(s), not $STACK_BROKERS; run: $SCRIPT down --wipe"
  fi
  (umask 077 && settings_text >"$SETTINGS_FILE")
  ! secured || make_certificates
  launch mariadb
  launch redis
  [ -e "$STACK_DIR/kafka-formatted" ] || format_kafka # while MariaDB starts
  for n in "${SERVERS[@]}"; do launch "$n"; done
  for n in "${SERVERS[@]}"; do
    wait_ready "$n"
    [ "$n" != mariadb ] || prepare_mariadb
  done
  ! secured || secured_prepare_kafka
  awk -v a="$t0" -v b="$(date +%s%N)" 'BEGIN { printf "stack: ready after %.1f s\n", (b - a) / 1e9 }'
}

down() {
  local what="${1:-}"
  [ -z "$what" ] || [ "$what" = --wipe ] || die "down [--wipe]"
  lock
  if [ "$what" = --wipe ]; then
    stop_servers KILL "${SERVERS[@]}" # nobody will read what a clean stop would write
    rm -rf "$STACK_DIR"/{mariadb,redis,tls,kafka-[1-3],kafka-pom,kafka-formatted,kafka-rights,settings} "$STACK_DIR"/*.log "$STACK_DIR"/*.log.old
    say "stopped, data dropped"
  else
    stop_servers TERM "${SERVERS[@]}"
    say "stopped"
  fi
}

status() {
  local n pid ok running=0 bad=0
  for n in "${SERVERS[@]}"; do
    if pid="$(pid_of "$n")"; then
      running=1
      if answers "$n"; then ok="answers"; else ok="does not answer"; bad=1; fi
      printf '%-8s pid %-7s %-16s RSS %s\n' "$n" "$pid" "$ok" "$(awk '/^VmRSS/ { printf "%d MiB", $2 / 1024 }' "/proc/$pid/status")"
    else
      printf '%-8s not running\n' "$n"
      bad=1
    fi
  done
  [ "$running" = 1 ] || return 3
  return "$bad"
}

print_env() {
  printf 'export DATABASE_URL=%q\n' "mysql://$STACK_DB_USER:$STACK_DB_PASS@127.0.0.1:$STACK_MYSQL_PORT/$STACK_DB"
  if secured; then
    printf 'export REDIS_URL=%q\n' "rediss://event:$STACK_DB_PASS@127.0.0.1:$STACK_REDIS_PORT/0"
  else
    printf 'export REDIS_URL=%q\n' "redis://127.0.0.1:$STACK_REDIS_PORT/0"
  fi
  printf 'export KAFKA_BROKERS=%q\n' "$BOOTSTRAP"
  printf 'export STACK_DIR=%q\n' "$STACK_DIR"
  ! secured || secured_env
  printf 'export STACK_KAFKA_JARS=%q\n' "$JARS"
  printf 'export STACK_SCRIPT=%q\n' "$SCRIPT"
}

# The options of MariaDB's own programs, as the event user.
sql_login() {
  printf '%s\n' --no-defaults -h 127.0.0.1 -P "$STACK_MYSQL_PORT" -u "$STACK_DB_USER" -p"$STACK_DB_PASS"
  ! secured || printf '%s\n' --ssl-ca="$TLS/ca.crt" --ssl-verify-server-cert
}

server_name() {
  case " ${SERVERS[*]} " in *" ${1:-} "*) [ -z "${1:-}" ] || return 0 ;; esac
  die "$CMD NAME: one of ${SERVERS[*]}"
}

signal_one() {
  local pid
  pid="$(pid_of "$2")" || die "$2 is not running"
  kill "-$1" "$pid"
}

[ $# -eq 0 ] || shift
case "$CMD" in
  install) install_all ;;
  missing) missing_packages ;; # for with-stack.sh: what `install` would have to install
  up) up; status ;;
  down) down "$@" ;;
  status) status ;;
  env) print_env ;;
  start) server_name "$@"; lock; start_one "$1" ;;
  stop) server_name "$@"; lock; stop_servers TERM "$1" ;;
  restart) server_name "$@"; lock; stop_servers TERM "$1"; start_one "$1" ;;
  kill) server_name "$@"; lock; stop_servers KILL "$1" ;;
  pause) server_name "$@"; signal_one STOP "$1" ;;
  resume) server_name "$@"; signal_one CONT "$1" ;;
  sql)
    mapfile -t login < <(sql_login)
    mariadb "${login[@]}" "$STACK_DB" "$@"
    ;;
  sqlroot) sqlroot "$@" ;;
  dump)
    [ $# -gt 0 ] || die "dump DATABASE [ARGS]"
    db="$1"
    shift
    # Of one moment, and nobody has to wait for it.
    mapfile -t login < <(sql_login)
    mariadb-dump "${login[@]}" --single-transaction --skip-lock-tables "$@" "$db"
    ;;
  kafka)
    [ $# -gt 0 ] || die "kafka CLASS [ARGS]"
    [ -f "$STACK_DIR/kafka-1/tools.properties" ] || die "no stack in $STACK_DIR yet; run: $SCRIPT up"
    kafka_tool "$@"
    ;;
  help | -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$SCRIPT" ;;
  *) die "unknown command '$CMD'; see: $SCRIPT help" ;;
esac
