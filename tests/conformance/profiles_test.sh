#!/bin/bash
# The profiles of CPU, memory and contention, of the live demo under load: read by `go tool pprof`, by Go's own parser, and by
# gperftools' pprof, by URL, as a user would.
set -euo pipefail
demo=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"

go build -o "$TEST_TMPDIR/parse_profile" "$here/parse_profile.go"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"
export PPROF_TMPDIR=$TEST_TMPDIR/pprof
mkdir "$PPROF_TMPDIR"

# Reports of a profile, by URL; what pprof says besides goes along.
report() { go tool pprof "${@:1:$#-1}" "http://$address${!#}" 2>&1 || fail "go tool pprof $*"; }
# Checks a profile by Go's parser, which also writes it and reads it again.
parse() {
  get "$1" >"$TEST_TMPDIR/profile.pb.gz"
  "$TEST_TMPDIR/parse_profile" "$TEST_TMPDIR/profile.pb.gz" || fail "$1: Go's parser"
}

start_demo "$demo" --load=1000 --leak

echo "== profile"
expect "profile, top" "$(report -top '/debug/pprof/profile?seconds=3')" '^Type: cpu$'
cpu=$(parse '/debug/pprof/profile?seconds=3&hz=250')
expect "profile, parsed" "$cpu" 'type=samples/count'
expect "profile, labels" "$(go tool pprof -tags "$TEST_TMPDIR/profile.pb.gz" 2>&1)" ': /order$'
expect "profile, names" "$(go tool pprof -top "$TEST_TMPDIR/profile.pb.gz" 2>&1)" 'demo::OrderService::'
expect "profile, period" "$(go tool pprof -raw "$TEST_TMPDIR/profile.pb.gz" 2>&1)" '^Period: 4000000$'
expect_status 400 '/debug/pprof/profile?seconds=301' 'must be an integer from 1 to 300'

echo "== heap"
report -top /debug/pprof/heap >/dev/null
base=$(ls "$PPROF_TMPDIR"/pprof.demo.alloc_objects.*.001.pb.gz)
allocs=$(report -top -nodecount=500 /debug/pprof/allocs)
expect "allocs, type" "$allocs" '^Type: alloc_space$'
expect "allocs, names" "$allocs" 'demo::OrderService::PlaceOrder\(demo::Order const&\)$'
expect "heap, type" "$(report -top /debug/pprof/heap)" '^Type: inuse_space$'
expect "heap, parsed" "$(parse /debug/pprof/heap)" 'labels=\[.*bytes.*\]'
expect "heap, text" "$(get '/debug/pprof/heap?debug=1')" '^heap profile: [0-9]+: [0-9]+ \[[0-9]+: [0-9]+\] @ heap/1048576$'
expect "heap, text" "$(get '/debug/pprof/heap?debug=1')" '^# HeapAlloc = [1-9][0-9]*$'
expect "heap, text read by pprof" "$(report -top '/debug/pprof/heap?debug=1')" '^Type: inuse_space$'
expect_status 200 '/debug/pprof/heap?gc=1&debug=1' '# runtime.MemStats'
# Until 4 MiB have been stranded, that is some 8 samples, one by 10 orders.
await "the leak" stranded 1000
leak=$(report -top -base "$base" -focus=OrderService::Audit /debug/pprof/heap)
expect "what has leaked since" "$leak" ' [0-9.]+[kM]B +[0-9.]+% +demo::OrderService::Audit\(unsigned long\)$'

echo "== contention"
# Orders wait for the inventory; who ranks them all holds its lock for long.
block=$(report -top /debug/pprof/block)
expect "block, type" "$block" '^Type: delay$'
expect "block, names" "$block" 'demo::OrderService::PlaceOrder\(demo::Order const&\)$'
expect "block, parsed" "$(parse /debug/pprof/block)" 'type=contentions/count'
expect "block, text" "$(get '/debug/pprof/block?debug=1')" '^cycles/second=1000000000$'
expect "block, text read by pprof" "$(report -top '/debug/pprof/block?debug=1')" '^Type: delay$'
contended() { get '/debug/pprof/mutex?debug=1' | grep 'demo::Ranking::Add' >/dev/null; }
await "contention" contended
expect "mutex, names" "$(report -top /debug/pprof/mutex)" 'demo::Ranking::Add\(demo::Order const&\)'
# Right above it, the unlock.
expect "mutex, leaf" "$(get '/debug/pprof/mutex?debug=1' | grep -B3 -m1 'demo::Ranking::Add')" 'fiberscope::Mutex::UnlockSlow\+0x'
expect "mutex, text" "$(get '/debug/pprof/mutex?debug=1')" '^sampling period=1$'

echo "== deltas"
for name in goroutine heap allocs block mutex threadcreate; do
  delta=$(report -top "/debug/pprof/$name?seconds=1")
  expect "$name, delta" "$delta" '^Duration: 1(\.[0-9]+)?s'
done
expect "allocs, delta" "$(report -top '/debug/pprof/allocs?seconds=1')" '^Type: alloc_space$'
expect_status 400 '/debug/pprof/block?seconds=1&debug=1' 'seconds and debug params are incompatible'
expect_status 400 '/debug/pprof/mutex?seconds=301' 'must be at most 300'

echo "== gperftools' pprof"
old() { HOME=$TEST_TMPDIR google-pprof --text "${@:1:$#-1}" "http://$address/pprof/${!#}" 2>&1 || fail "google-pprof $*"; }
expect "heap" "$(old heap)" '^Total: [0-9.]+ MB$'
expect "heap, names" "$(old heap)" ' demo::OrderService::Audit$'
expect "growth" "$(old growth)" '^Total: [0-9.]+ MB$'
expect "contention" "$(old contention)" ' demo::Ranking::Add$'
expect "profile" "$(old --seconds=2 profile)" '^Total: [0-9]+ samples$'
expect "profile, names" "$(old --seconds=2 profile)" ' demo::OrderService::'

echo "== index"
index=$(get /debug/pprof/)
for name in allocs block cmdline goroutine heap mutex profile symbol threadcreate threads wall; do
  expect "index" "$index" "^<tr><td>[0-9]+</td><td><a href='$name\\?debug=1'>$name</a></td></tr>$"
done
stop_demo
