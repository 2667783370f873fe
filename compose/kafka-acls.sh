#!/usr/bin/env bash
# Rights of least privilege in Kafka, one user a role. Prints one line for each call of Kafka's own tool:
#
#   kafka-acls.sh | while read -r line; do kafka-acls --bootstrap-server B:9093 --command-config admin.properties $line; done
#
# Users: gateway, worker (both workers), admin (admin-api), operator (the tools, `topics create`). Setting, by environment:
#   PREFIX=               KAFKA_TOPIC_PREFIX of the programs
#   USER_PREFIX=          before every user's name
set -Eeuo pipefail
: "${PREFIX:=}" "${USER_PREFIX:=}"

topics=() dead=() groups=()
for name in event-apply-topic event-raffle-topic member-activity-topic; do
  topics+=(--topic "$PREFIX$name")
  dead+=(--topic "$PREFIX$name.DLT")
done
for name in apply-worker activity-worker raffle-worker; do groups+=(--group "$PREFIX$name"); done

allow() { # OPERATION,… USER,… WHAT…
  local word line="--add"
  for word in ${1//,/ }; do line+=" --operation $word"; done
  for word in ${2//,/ }; do line+=" --allow-principal User:$USER_PREFIX$word"; done
  shift 2
  printf '%s %s\n' "$line" "$*"
}

# Every program looks at every topic at its start: is it safe enough?
allow Describe,DescribeConfigs gateway,worker,admin,operator "${topics[@]}" "${dead[@]}"
allow Write gateway,admin "${topics[@]}"
allow Read worker,operator "${topics[@]}"
allow Write worker "${dead[@]}"
allow Read worker "${groups[@]}"
# Replays and `reconcile` read the log each in a group of its own.
allow Read operator --group "${PREFIX}replay-" --resource-pattern-type prefixed
allow Create operator "${topics[@]}" "${dead[@]}"
