#!/bin/bash
# One request through gateway, orders, queue and inventory, followed by its id through everything that README says shows it: log
# lines, dumps by label, /debug/requests, the execution trace, metrics and variables.
set -euo pipefail
demo=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"
go123=/usr/lib/go-1.23/bin/go

id=chain-4711
trace_id=4bf92f3577b34da6a3ce929d0e0e4736
# Sends it, by whatever name.
send() { "$TEST_TMPDIR/fetch" -i -H "X-Request-Id: $1" -H "traceparent: 00-$trace_id-00f067aa0ba902b7-01" "$gateway"; }
value() { sed -n "s/^$1 //p" <<<"$2"; }

# Every order is slow, for longer than looking at it takes, and every second one fails.
start_demo "$demo" --slow_every=1 --slow_ms=1500 --error_every=2 --log_level=info --log_format=json --flight_recorder
gateway=$(sed -n 's/^gateway on //p' "$demo_log")
before=$(get /metrics)
get '/debug/pprof/goroutine?debug=1' >/dev/null  # the first dump reads the debug information

echo "== while it is slow"
send "$id" >"$TEST_TMPDIR/answer" &
sender=$!
in_flight() { requests=$(get /debug/requests); grep -E "^    [0-9.]+ s     GET .* request_id=$id .* fibers=[0-9]+,[0-9]+,[0-9]+\$" <<<"$requests" >/dev/null; }
await "three fibers that work for it" in_flight
dump=$(get '/debug/pprof/goroutine?debug=1')
filtered=$(get "/debug/pprof/goroutine?debug=2&label=request_id:$id")
page=$(get /metrics)
expect requests "$requests" '^requests: 2 in flight, 0 finished$'
expect requests "$requests" '^/checkout: 1 in flight, 0 finished$'
expect requests "$requests" '^/order: 1 in flight, 0 finished$'
(($(grep -c "request_id=$id trace_id=$trace_id span_id=" <<<"$requests") == 2)) || fail "not in both services: $requests"
for route in /checkout /order; do
  expect "debug=1" "$dump" "^# labels: \\{\"request_id\":\"$id\", \"route\":\"$route\", \"trace_id\":\"$trace_id\"\\}\$"
  expect "in flight" "$page" "^http_server_in_flight\\{route=\"$route\"\\} 1\$"
done
expect "debug=2" "$filtered" '^demo::OrderService::CheckCredit\(\.\.\.\)$'
expect "debug=2" "$filtered" '^demo::OrderClient::Get\(\.\.\.\)$'
for fiber in '\[IO wait\] \{name: "?gateway-request"?' '\[suspended\] \{name: request' '\[sleep\] \{name: "?order-worker"?'; do
  expect "debug=2" "$filtered" "^goroutine [0-9]+ $fiber, request_id: \"?$id\"?, route: "
done
(($(grep -c '^goroutine ' <<<"$filtered") == 3)) || fail "other fibers than those of the request: $filtered"

echo "== its answer"
wait "$sender" || fail "no answer: $(cat "$TEST_TMPDIR/answer")"
answer=$(cat "$TEST_TMPDIR/answer")
expect answer "$answer" '^200$'
expect answer "$answer" "^X-Request-Id: $id"
expect answer "$answer" '^\{"order":1,"item":"apple","quantity":2,"left":9998\}$'

echo "== its log lines"
logged() { (($(grep -c "\"request_id\":\"$id\"" "$demo_errors") == 3)); }
await "three lines" logged
lines=$(grep "\"request_id\":\"$id\"" "$demo_errors")
expect "the inventory's" "$lines" '"logger":"inventory",.*"msg":"reserved","order":1,"left":9998,'
expect "the orders'" "$lines" '"logger":"orders",.*"msg":"order placed","order":1,.*"labels":\{"route":"/order"\}'
expect "the gateway's" "$lines" '"logger":"gateway",.*"msg":"checkout answered","status":200,"took":1\.[0-9]+,.*"labels":\{"route":"/checkout"\}'
(($(grep -c "\"trace_id\":\"$trace_id\",\"span_id\":\"[0-9a-f]\{16\}\"" <<<"$lines") == 3)) || fail "lines without trace: $lines"
# A span each in the gateway and in the order service, and the inventory works in the order's.
(($(sed -E 's/.*"span_id":"([0-9a-f]+)".*/\1/' <<<"$lines" | sort -u | wc -l) == 2)) || fail "spans: $lines"

echo "== among the slowest"
json=$(get '/debug/requests?format=json&route=/order&minage=1s')
expect slowest "$json" "\"slowest\":\\[\\{\"request_id\":\"$id\",\"trace_id\":\"$trace_id\",.*\"duration\":1\\.[0-9]+,\"status\":200\\}\\]"
expect slowest "$(get /debug/requests)" "^    1\\.[0-9]{6} s 200 GET began .* request_id=$id "
! get '/debug/requests?minage=1h' | grep "$id" || fail "minage lets it pass"
expect_status 400 '/debug/requests?format=xml' 'must be text or json'

echo "== in the trace"
get '/debug/pprof/flightrecorder?format=json' >"$TEST_TMPDIR/trace.json"
expect "a trace" "$(head -c 200 "$TEST_TMPDIR/trace.json")" 'traceEvents'
grep "$id" "$TEST_TMPDIR/trace.json" >/dev/null || fail "the trace does not name it"
if [[ -x $go123 ]]; then
  get '/debug/pprof/flightrecorder' >"$TEST_TMPDIR/trace"
  events=$("$go123" tool trace -d=1 "$TEST_TMPDIR/trace" 2>&1) || fail "go tool trace: $(tail -3 <<<"$events")"
  expect "its name" "$events" " Log .* Category=\"request_id\" Message=\"$id\""
  task=$(sed -nE 's/.* TaskBegin .*ID=([0-9]+) .*Type="order".*/\1/p' <<<"$events" | head -1)
  [[ -n $task ]] || fail "no task: $(grep TaskBegin <<<"$events")"
  expect "the gateway's task" "$events" ' TaskBegin .*Type="checkout"'
  # On three fibers.
  for region in place 'credit check' reserve; do expect "$region" "$events" " RegionBegin .*Task=$task .*Type=\"$region\""; done
else
  echo "SKIPPED: go tool trace 1.23 is not installed (third_party/install_deps.sh --conformance)"
fi

echo "== one that fails"
send "$id-fails" >"$TEST_TMPDIR/answer"
expect answer "$(cat "$TEST_TMPDIR/answer")" '^500$'
failed() { (($(grep -c "\"request_id\":\"$id-fails\"" "$demo_errors") == 2)); }
await "its lines" failed
expect "what failed" "$(grep "$id-fails" "$demo_errors")" '"level":"error","logger":"orders",.*"error":"INTERNAL: the credit check failed"'
# A name that cannot be one.
send 'chain 4711' >"$TEST_TMPDIR/answer"
expect answer "$(cat "$TEST_TMPDIR/answer")" '^X-Request-Id: [0-9a-f-]{36}'

echo "== counted"
# The log's thread writes later.
written() { get /metrics | grep '^fiber_log_lines_total{outcome="written"} 8$' >/dev/null; }
await "eight lines" written
after=$(get /metrics)
for series in 'http_server_requests_total\{route="\/order",code="200"\}' 'http_server_requests_total\{route="\/checkout",code="200"\}' \
  'demo_orders_total\{outcome="placed"\}' 'demo_checkouts_total\{outcome="answered"\}'; do
  [[ -z $(value "$series" "$before") && $(sed -nE "s/^$series //p" <<<"$after") == 2 ]] || fail "$series: $(grep -E '^(http_server|demo)' <<<"$after")"
done
for series in 'http_server_requests_total\{route="/order",code="500"\} 1' 'http_server_request_duration_seconds_count\{route="/order"\} 3' \
  'http_server_request_duration_seconds_bucket\{route="/order",le="1.073741824"\} 0' 'demo_orders_total\{outcome="failed"\} 1' \
  'demo_inventory_batch_orders_count 2' 'fiber_malformed_identities_total\{field="x-request-id"\} 1' \
  'fiber_log_lines_total\{outcome="written"\} 8' 'fiber_log_lines_total\{outcome="dropped"\} 0' 'http_server_in_flight\{route="/order"\} 0'; do
  expect metrics "$after" "^$series\$"
done
vars=$(get /debug/vars)
expect vars "$vars" '^"checkouts": \{"answered": 2, "failed": 1\},$'
expect vars "$vars" '^"orders": \{"failed": 1, "placed": 2\}$'
expect vars "$vars" '^"log": \{"level":"info","written":8,"dropped":0,"sampled_out":0,"sink_errors":0\},$'
expect vars "$vars" '"malformed_identities":\{"request_ids":1,"traceparents":0,"tracestates":0\}'
stop_demo
echo PASS
