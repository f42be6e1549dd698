#!/bin/bash
# The demo's flight recorder, read by the real `go tool trace` of Go 1.19 and 1.23: what it has at any moment, in all forms, also while
# a trace is taken beside, and what it saves by itself: the order that was slow, and a stall.
set -euo pipefail
demo=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"
. "$here/trace_tools.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"
go build -o "$TEST_TMPDIR/trace_json" "$here/trace_json.go"

echo "== none"
start_demo "$demo"
expect_status 404 /debug/pprof/flightrecorder 'DebugServerOptions::flight_recorder'
stop_demo

echo "== snapshots"
flights=$TEST_TMPDIR/flights
start_demo "$demo" --load=300 --leak --flight_dir="$flights" --slow_every=300 --slow_ms=100
saved() { compgen -G "$flights/fiberscope-*-slow-task-order-*.trace" >/dev/null; }
await "a slow order" saved
expect_status 400 '/debug/pprof/flightrecorder?format=go1.7' 'must be go1.22, go1.23, go1.19 or json'
get '/debug/pprof/trace?seconds=1.2' >"$TEST_TMPDIR/beside.go122" &
beside=$!
get /debug/pprof/flightrecorder >"$TEST_TMPDIR/flight.go122"
get '/debug/pprof/flightrecorder?format=go1.19' >"$TEST_TMPDIR/flight.go119"
get '/debug/pprof/flightrecorder?format=json' >"$TEST_TMPDIR/flight.json"
get '/debug/pprof/flightrecorder?profile=sync' >"$TEST_TMPDIR/flight.pb"
wait "$beside"
"$TEST_TMPDIR/trace_json" "$TEST_TMPDIR/flight.json" || fail "JSON"
expect "sync profile" "$(go tool pprof -top -nodefraction=0 "$TEST_TMPDIR/flight.pb" 2>&1)" 'demo::OrderService::PlaceOrder'
judge() {
  local trace=$TEST_TMPDIR/flight.go119
  if [[ $1 != 1.19 ]]; then
    # What was there before: the fibers that the demo strands are named at the beginning, or created later.
    expect "$1" "$(trace_parse "$2" "$TEST_TMPDIR/beside.go122")" 'Undetermined->Waiting'
    trace=$(compgen -G "$flights/fiberscope-*-slow-task-order-*.trace" | head -1)
    local text
    text=$(trace_parse "$2" "$trace") || fail "$trace"
    expect "the slow order" "$text" ' RegionBegin .* Type="credit check"'
    expect "the slow order" "$text" ' TaskEnd .* Type="order"'
    trace=$TEST_TMPDIR/flight.go122
  fi
  trace_parse "$2" "$trace" >/dev/null || fail "$trace"
  trace_view "$2" "$trace" / /trace /jsontrace /goroutines /usertasks /userregions /mmu >/dev/null || fail "$trace"
}
for_each_trace_tool judge
stop_demo

echo "== stall"
start_demo "$demo" --flight_dir="$flights" --stall
stalled() { compgen -G "$flights/fiberscope-*-stall-of-fiber-*.trace" >/dev/null; }
await "a stall" stalled
stop_demo
echo "the flight recorder's traces are as Go reads them"
