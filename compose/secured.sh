# shellcheck shell=bash
# What stack.sh does otherwise with STACK_SECURED=1: TLS and users to all three servers, a right for nobody who was not
# given one. Sourced by stack.sh, whose variables and functions it uses; runs nothing by itself.
#
# $TLS (STACK_DIR/tls) has: ca.crt and ca.key of an authority of its own; server.crt and server.key for 127.0.0.1 (for no
# other name), kafka.crt for brokers among themselves; client.crt and client.key (CN=gateway); USER.password for event,
# gateway, worker, admin, operator. `event` may do everything; the others what kafka-acls.sh and redis-users.acl give them. Database users of least privilege
# are made by migrations/users, with REQUIRE=SSL or X509.

TLS="$STACK_DIR/tls"
ROLES=(gateway worker admin operator)
HERE="$(dirname "$SCRIPT")"

password_of() { cat "$TLS/$1.password"; }

# certificate NAME SUBJECT EXTENSION: a key that is there, signed by the authority.
certificate() {
  openssl req -new -key "$TLS/$1.key" -subj "/CN=$2" |
    openssl x509 -req -CA "$TLS/ca.crt" -CAkey "$TLS/ca.key" -days 365 -out "$TLS/$1.crt" -extfile <(echo "$3")
}

make_certificates() {
  [ ! -e "$TLS/.complete" ] || return 0
  rm -rf "$TLS"
  # In the background, for a failure to end it where it happens.
  (umask 077 && write_certificates) >"$STACK_DIR/tls.log" 2>&1 &
  wait "$!" || { tail -n 15 "$STACK_DIR/tls.log" >&2; die "making certificates failed"; }
  # MariaDB reads them as its own user.
  chmod a+x "$TLS"
  chmod a+r "$TLS/ca.crt" "$TLS/server.crt"
  if [ "$(id -u)" = 0 ]; then chown "$DB_OS_USER" "$TLS/server.key"; fi
  touch "$TLS/.complete"
}

write_certificates() {
  local name role
  mkdir -p "$TLS"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$TLS/ca.key" -out "$TLS/ca.crt" \
    -days 365 -subj "/CN=event stack"
  for name in server kafka; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$TLS/$name.key"
    certificate "$name" "$name" 'subjectAltName=IP:127.0.0.1'
    cat "$TLS/$name.key" "$TLS/$name.crt" >"$TLS/$name.pem" # as Kafka wants it
  done
  openssl genrsa -traditional -out "$TLS/client.key" 2048 # the one form that the MySQL driver reads
  certificate client gateway 'extendedKeyUsage=clientAuth'
  printf %s "$STACK_DB_PASS" >"$TLS/event.password"
  for role in "${ROLES[@]}"; do openssl rand -hex 16 | tr -d '\n' >"$TLS/$role.password"; done
  sed -e "s/@GATEWAY_PASSWORD@/$(password_of gateway)/;s/@ADMIN_PASSWORD@/$(password_of admin)/" -e '/^#/d' \
    "$HERE/redis-users.acl" >"$TLS/redis.acl"
  printf 'user default off\nuser event on >%s ~* &* +@all\n' "$STACK_DB_PASS" >>"$TLS/redis.acl"
  cat >"$TLS/kafka-root.properties" <<END
security.protocol=SSL
ssl.keystore.type=PEM
ssl.keystore.location=$TLS/kafka.pem
ssl.truststore.type=PEM
ssl.truststore.location=$TLS/ca.crt
END
}

secured_mariadb_options() {
  printf '%s\n' --require-secure-transport=ON --ssl-ca="$TLS/ca.crt" --ssl-cert="$TLS/server.crt" --ssl-key="$TLS/server.key"
}

# Client certificates are asked for, not required: `CONFIG SET tls-auth-clients yes` requires them.
secured_redis_options() {
  printf '%s\n' --port 0 --tls-port "$STACK_REDIS_PORT" --tls-ca-cert-file "$TLS/ca.crt" --tls-cert-file "$TLS/server.crt" \
    --tls-key-file "$TLS/server.key" --tls-auth-clients optional --aclfile "$TLS/redis.acl"
}

secured_redis_ping() {
  REDISCLI_AUTH="$STACK_DB_PASS" timeout 2 redis-cli --user event --tls --cacert "$TLS/ca.crt" -h 127.0.0.1 -p "$STACK_REDIS_PORT" ping
}

# SASL for the programs; a second listener takes client certificates in place of a password, and brokers talk over it.
# The certificate's name is the user's: CN=kafka, the brokers' own, is a super user.
secured_kafka_config() { # BROKER_PORT CERT_PORT CONTROLLER_PORT
  local role plain="user_event=\"$STACK_DB_PASS\""
  for role in "${ROLES[@]}"; do plain+=" user_$role=\"$(password_of "$role")\""; done
  cat <<END
listeners=SASL_SSL://127.0.0.1:$1,SSL://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=SASL_SSL://127.0.0.1:$1,SSL://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
listener.security.protocol.map=SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:SSL
inter.broker.listener.name=SSL
ssl.keystore.type=PEM
ssl.keystore.location=$TLS/kafka.pem
ssl.truststore.type=PEM
ssl.truststore.location=$TLS/ca.crt
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location=$TLS/server.pem
listener.name.ssl.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([a-z]+)\$/\$1/,DEFAULT
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required $plain;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:kafka;User:event
END
}

# Users with SCRAM are in the log itself, from its first byte.
secured_scram_users() {
  local user
  for user in event "${ROLES[@]}"; do
    printf '%s\n' --add-scram "SCRAM-SHA-256=[name=$user,password=$(password_of "$user")]"
    printf '%s\n' --add-scram "SCRAM-SHA-512=[name=$user,password=$(password_of "$user")]"
  done
}

# Rights are laid once; each call is a Java of its own, so they run side by side.
secured_prepare_kafka() {
  [ ! -e "$STACK_DIR/kafka-rights" ] || return 0
  local line words n=0 pids=()
  while read -r line; do
    read -ra words <<<"$line"
    kafka_tool org.apache.kafka.tools.AclCommand --bootstrap-server "127.0.0.1:$(cert_port 1)" \
      --command-config "$TLS/kafka-root.properties" "${words[@]}" >"$STACK_DIR/kafka-rights-$n.log" 2>&1 &
    pids[n++]=$!
  done < <("$HERE/kafka-acls.sh")
  for n in "${!pids[@]}"; do
    wait "${pids[n]}" || { tail -n 15 "$STACK_DIR/kafka-rights-$n.log" >&2; die "laying Kafka's rights failed"; }
  done
  touch "$STACK_DIR/kafka-rights"
}

secured_env() {
  printf 'export DATABASE_CA_FILE=%q\n' "$TLS/ca.crt"
  printf 'export REDIS_CA_FILE=%q\n' "$TLS/ca.crt"
  printf 'export KAFKA_CA_FILE=%q\n' "$TLS/ca.crt"
  printf 'export KAFKA_SECURITY_PROTOCOL=sasl_ssl KAFKA_SASL_MECHANISM=SCRAM-SHA-512 KAFKA_SASL_USERNAME=event\n'
  printf 'export KAFKA_SASL_PASSWORD_FILE=%q\n' "$TLS/event.password"
  printf 'export STACK_KAFKA_CERT_BROKERS=%q\n' "127.0.0.1:$(cert_port 1)"
}
