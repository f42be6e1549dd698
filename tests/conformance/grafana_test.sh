#!/bin/bash
# What is given to Grafana and Prometheus (server/grafana), judged by promtool, and by a real Prometheus that scrapes the live demo:
# every query of the dashboard has data, every alert can be told, and the leak of the demo is found.
set -euo pipefail
demo=$1 dashboard=$2 alerts=$3 config=$4
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"

unpacked=/usr/local/lib/fiberscope-conformance/usr/bin
prometheus=$(command -v prometheus || echo $unpacked/prometheus)
promtool=$(command -v promtool || echo $unpacked/promtool)
if [[ ! -x $prometheus || ! -x $promtool ]]; then
  echo "SKIPPED: prometheus is not installed (third_party/install_deps.sh --conformance)"
  exit 0
fi

echo "== promtool"
"$promtool" check rules "$alerts"
"$promtool" check config "$config"
"$promtool" test rules "$here/alerts_test.yml"
# No alert is without a test that it fires.
while read -r name; do
  grep -q "alertname=\"$name\", alertstate=\"firing\"" "$here/alerts_test.yml" || fail "alerts_test.yml does not see $name fire"
done < <(sed -n 's/^ *- alert: //p' "$alerts")

go build -o "$TEST_TMPDIR/grafana" "$here/grafana.go"

start_demo "$demo" --load=200 --leak --stall

# The same configuration and the same alerts, but that minutes are seconds, so that what takes half an hour takes half a minute.
own=$TEST_TMPDIR/prometheus
mkdir "$own"
sed -E "s/: 15s\$/: 1s/; s/127\.0\.0\.1:6060/$address/" "$config" >"$own/prometheus.yml"
sed -E 's/\b([0-9]+)m\b/\1s/g; s/\* 60\b/* 1/' "$alerts" >"$own/alerts.yml"
expect "the target" "$(<"$own/prometheus.yml")" "targets: \[$address\]"
expect "the interval" "$(<"$own/prometheus.yml")" 'scrape_interval: 1s$'
"$promtool" check config "$own/prometheus.yml"

prometheus_log=$own/log
: >"$prometheus_log"
"$prometheus" --config.file="$own/prometheus.yml" --storage.tsdb.path="$own/data" --web.listen-address=127.0.0.1:0 \
  2>"$prometheus_log" >&2 &
prometheus_pid=$!
trap 'kill -9 $demo_pid $prometheus_pid 2>/dev/null || true' EXIT
prometheus_address=
exec 3< <(tail -n +1 -f --pid=$prometheus_pid "$prometheus_log")
while IFS= read -r line <&3; do
  if [[ $line =~ msg=\"Listening\ on\"\ address=([0-9.:]+) ]]; then prometheus_address=${BASH_REMATCH[1]}; fi
  [[ $line != *'Server is ready to receive web requests'* ]] || break
done
exec 3<&-
[[ -n $prometheus_address ]] || fail "Prometheus does not say where it listens: $(cat "$prometheus_log")"

"$TEST_TMPDIR/grafana" "$dashboard" "$here/go_dashboards.txt" "$prometheus_address" "$address" ||
  fail "see above; Prometheus says: $(grep -vE 'level=info' "$prometheus_log" | tail -20)"

kill -TERM "$prometheus_pid"
wait "$prometheus_pid" || fail "Prometheus ended with status $?: $(tail "$prometheus_log")"
stop_demo
echo PASS
