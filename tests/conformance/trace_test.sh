#!/bin/bash
# Execution traces, read by the real `go tool trace` of Go 1.23: every event of traces that begin and end in the middle of a storm, a
# trace of known contents, and the live demo's by URL. Go 1.19, Debian's own, does not know the format.
set -euo pipefail
sample=$1
demo=$2
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"
. "$here/trace_tools.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"

find_trace_tool 1.23 || exit 0
# Every event of a trace as text; fails if one does not fit.
events() { trace_parse "$trace_tool" "$1" || fail "$1"; }
count() { grep -cE -- "$1" <<<"$2" || true; }
equal() { [[ $2 == "$3" ]] || fail "$1: $2, not $3"; }

seed=${TRACE_SEED:-$RANDOM}
traces=${TRACE_COUNT:-15}
echo "TRACE_SEED=$seed"
said=$("$sample" "$TEST_TMPDIR" "$traces" "$seed") || fail "the sample ended: $said"
echo "$said"

echo "== counted"
counted=$(events "$TEST_TMPDIR/counted.trace")
equal "fibers that were spawned" "$(count '^M=.* P=[0-9]+ G=[0-9]+ StateTransition .* NotExist->Runnable' "$counted")" 1000
equal "fibers that ended" "$(count 'Running->NotExist' "$counted")" 1002
equal "sleeps" "$(count 'Reason="sleep" .* Running->Waiting' "$counted")" 3000
equal "generations" "$(count ' Sync ' "$counted")" 2
equal "tasks" "$(count ' TaskBegin .* Type="counted task"' "$counted")" 1000
equal "ends of tasks" "$(count ' TaskEnd ' "$counted")" 1000
equal "regions" "$(count ' RegionEnd .* Type="nap"' "$counted")" 3000
# The first stack of a fiber ends at its entry function.
expect "names" "$counted" '^	sample::CountedFiber'
trace_pprof "$trace_tool" "$TEST_TMPDIR/counted.trace" sched >"$TEST_TMPDIR/sched.pb" || fail "-pprof=sched"
expect "scheduling profile" "$(go tool pprof -top -nodefraction=0 "$TEST_TMPDIR/sched.pb" 2>&1)" 'fiberscope::woken_by::Timer$'

echo "== spinning"
spinning=$(events "$TEST_TMPDIR/spinning.trace")
equal "that it runs" "$(count 'StateTransition .* Undetermined->Running' "$spinning")" 2 # the processor and the fiber
expect "that it stops" "$spinning" 'Reason="sleep" .* Running->Waiting'

echo "== storm"
for trace in "$TEST_TMPDIR"/storm-*.trace; do events "$trace" >"$TEST_TMPDIR/events" || exit 1; done
[[ $said == "dropped 0" ]] || echo "events left out, in $traces beginnings: $said"

echo "== demo"
start_demo "$demo" --load=1000 --leak
get '/debug/pprof/trace?seconds=2.5' >"$TEST_TMPDIR/demo.trace"
text=$(events "$TEST_TMPDIR/demo.trace")
equal "generations" "$(count ' Sync ' "$text")" 3
expect "network waits" "$text" 'Reason="network" .* Running->Waiting'
expect "channels" "$text" 'Reason="chan receive" .* Running->Waiting'
expect "blocking calls" "$text" 'Running->Syscall'
expect "tasks" "$text" ' TaskBegin .* Type="order"'
expect "regions" "$text" ' RegionBegin .* Type="place"'
expect "logs" "$text" ' Log .* Category="item" Message='
expect "labels" "$text" ' Label .* Label="route=/order"'
expect "heap" "$text" 'Metric .*/memory/classes/heap/objects:bytes'
expect "processors" "$text" 'Metric .*/sched/gomaxprocs:threads'
for profile in net sync syscall sched; do
  trace_pprof "$trace_tool" "$TEST_TMPDIR/demo.trace" $profile >"$TEST_TMPDIR/profile.pb" || fail "-pprof=$profile"
  expect "$profile" "$(go tool pprof -top -nodefraction=0 "$TEST_TMPDIR/profile.pb" 2>&1)" 'demo::Order'
done
expect_status 400 '/debug/pprof/trace?seconds=301' 'more than 0 and at most 300'
expect_status 400 '/debug/pprof/trace?format=go1.7' 'must be go1.22, go1.23, go1.19 or json'
# A CPU profile of the same time.
get '/debug/pprof/profile?seconds=3' >"$TEST_TMPDIR/demo.cpu" &
profile=$!
get '/debug/pprof/trace?seconds=2.5' >"$TEST_TMPDIR/demo.trace"
expect "samples" "$(events "$TEST_TMPDIR/demo.trace")" 'StackSample'
wait "$profile"
# Fibers that do nothing, those that the demo strands: without a stack in the form of Go 1.22.
await "the leak" stranded 10
get '/debug/pprof/trace?seconds=0.2&format=go1.23' >"$TEST_TMPDIR/demo.trace"
idle=$(events "$TEST_TMPDIR/demo.trace" | grep -A3 'Undetermined->Waiting')
expect "names of idle fibers" "$idle" 'demo::OrderService::PlaceOrder::\{lambda#1\}'
stop_demo
echo "all traces are as Go reads them"
