#!/usr/bin/env bash
# Checks what is in this folder without a cluster: each overlay is rendered and every object compared with the schema of its
# kind, every alert is tested, and every runbook that an alert names is there. `make k8s` runs it.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
VALIDATE_VERSION=1.37.0
KUSTOMIZE_VERSION=v5.7.1

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
die() { printf 'k8s: %s\n' "$*" >&2; exit 1; }

command -v promtool >/dev/null || die "promtool is needed (Debian's package prometheus)"
tools=../target/k8s-tools
if ! "$tools/bin/kubernetes-validate" --version 2>/dev/null | grep -qF "$VALIDATE_VERSION"; then
  python3 -m venv --clear "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$VALIDATE_VERSION"
fi

if command -v kustomize >/dev/null; then render=(kustomize build)
elif command -v kubectl >/dev/null; then render=(kubectl kustomize)
elif command -v go >/dev/null; then
  [ -x "$tools/bin/kustomize" ] ||
    GOBIN="$(realpath "$tools")/bin" go install "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE_VERSION"
  render=("$tools/bin/kustomize" build)
else die 'kustomize, kubectl or Go is needed'; fi

for overlay in overlays/*/ tests/*/; do
  out="$work/$(basename "$overlay").yaml"
  "${render[@]}" "$overlay" >"$out"
  "$tools/bin/kubernetes-validate" --strict "$out" >"$work/said" 2>&1 || { cat "$work/said"; die "$overlay is not valid"; }
  if grep -E '^ERROR' "$work/said"; then die "$overlay is not valid"; fi
  # Kinds that Kubernetes does not know are their controllers': each such object must be one that schemas/ knows.
  "$tools/bin/python" schemas/validate.py "$out" | tee "$work/custom"
  [ "$(grep -c '^WARN' "$work/said")" = "$(grep -oE '^k8s: [0-9]+' "$work/custom" | grep -oE '[0-9]+$')" ] || {
    grep '^WARN' "$work/said"
    die "$overlay: an object above is checked by nothing"
  }
  printf 'k8s: %s is valid, %s objects\n' "$overlay" "$(grep -c '^kind:' "$out")"
done

"$tools/bin/python" - components/monitoring/alerts.yaml "$work/rules.yaml" <<'PY'
import sys, yaml
rule = yaml.safe_load(open(sys.argv[1]))
yaml.safe_dump(rule["spec"], open(sys.argv[2], "w"))
if yaml.safe_load(open("../compose/prometheus/alerts.yaml")) != rule["spec"]:
    sys.exit("k8s: compose/prometheus/alerts.yaml has other rules than components/monitoring/alerts.yaml")
PY
cp tests/alerts.yaml "$work/"
(cd "$work" && promtool check rules rules.yaml && promtool test rules alerts.yaml)

tested="$(grep -oE 'alertname: \w+' tests/alerts.yaml | sort -u | wc -l)"
[ "$tested" = "$(grep -c -- '- alert: ' components/monitoring/alerts.yaml)" ] || die 'an alert has no test'
# A metric that nobody writes never fires, and draws nothing.
../.ci/check-metrics.py
../.ci/check-metrics.py --rules "$work/expressions.yaml"
promtool check rules "$work/expressions.yaml" | grep -v '^$'
grep -oE 'runbook: k8s/\S+' components/monitoring/alerts.yaml | sort -u | while read -r _ runbook; do
  [ -s "../$runbook" ] || die "$runbook is named by an alert and is not there"
done
echo 'k8s: all checks passed'
