#!/usr/bin/env bash
# Checks the container files without an engine: the compose files against the schema of their format and, where Go is, in the
# library that Docker Compose itself uses; that what they mount and build is there; Prometheus's files by promtool; HAProxy's by
# HAProxy, and its behaviour before two stand-ins (check_edge.py). `make compose-check` runs it.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
CHECK_JSONSCHEMA_VERSION=0.39.0
COMPOSE_GO_VERSION=v2.16.2

die() { printf 'compose: %s\n' "$*" >&2; exit 1; }
PATH="$PATH:/usr/sbin"
command -v haproxy >/dev/null || die "haproxy is needed (Debian's package haproxy)"
command -v promtool >/dev/null || die "promtool is needed (Debian's package prometheus)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

tools=../target/compose-tools
if ! "$tools/bin/check-jsonschema" --version 2>/dev/null | grep -qwF "$CHECK_JSONSCHEMA_VERSION"; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "check-jsonschema==$CHECK_JSONSCHEMA_VERSION"
fi
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml stores.yaml

# Resolved: includes, anchors, defaults. The variables without a default get one here.
if command -v go >/dev/null; then
  [ -x "$tools/bin/compose-go" ] || {
    GOBIN="$(realpath "$tools")/bin" go install "github.com/compose-spec/compose-go/v2/cmd@$COMPOSE_GO_VERSION"
    mv "$tools/bin/cmd" "$tools/bin/compose-go"
  }
  mkdir "$work/compose"
  for file in compose.yaml stores.yaml; do sed 's/:?[^}]*}/:-x}/' "$file" >"$work/compose/$file"; done
  "$tools/bin/compose-go" -format json "$work/compose/compose.yaml" >"$work/resolved.json"
  python3 - "$work/resolved.json" "$work/compose" . <<'PY'
import json, pathlib, re, sys
resolved, there, here = json.load(open(sys.argv[1])), sys.argv[2], pathlib.Path(sys.argv[3]).resolve()
stages = set(re.findall(r"^FROM \S+ AS (\S+)", (here / "Dockerfile").read_text(), re.M))
bad = []
for name, service in resolved["services"].items():
    for volume in service.get("volumes", []):
        source = pathlib.Path(volume["source"].replace(there, str(here)).replace(str(pathlib.Path(there).parent), str(here.parent)))
        if volume["type"] == "bind" and not source.exists():
            bad.append(f"{name} mounts {source}, which is not there")
    if "build" in service and service["build"]["target"] not in stages:
        bad.append(f"{name} builds a stage that the Dockerfile has not")
    if "build" in service and not service["read_only"]:
        bad.append(f"{name} may write to its image")
    for port in service.get("ports", []):
        if port.get("host_ip") != "127.0.0.1":
            bad.append(f"{name} publishes a port beyond loopback")
    if service.get("restart") != "no" and "healthcheck" not in service:
        bad.append(f"{name} has no health check")
if bad:
    sys.exit("compose: " + "\ncompose: ".join(bad))
print(f"compose: resolved, {len(resolved['services'])} services; mounts, stages, ports and health checks are right")
PY
else
  echo 'compose: Go is not installed: not resolved'
fi

promtool check config prometheus/prometheus.yaml
haproxy -c -f haproxy/haproxy.cfg
python3 check_edge.py
echo 'compose: all checks passed'
