#!/bin/bash
# /metrics of the live demo, and a page of hostile metrics: judged by the real promtool.
set -euo pipefail
sample=$1
demo=$2
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"

promtool=$(command -v promtool || echo /usr/local/lib/fiberscope-conformance/usr/bin/promtool)
if [[ ! -x $promtool ]]; then
  echo "SKIPPED: promtool is not installed (third_party/install_deps.sh --conformance)"
  promtool=true
fi
# No word from promtool: it neither fails to read the page nor finds a name or type to complain of.
check() {
  local said
  said=$("$promtool" check metrics <<<"$2" 2>&1) || fail "$1: promtool: $said"
  [[ -z $said ]] || fail "$1: promtool complains: $said"
}

echo "== hostile metrics"
hostile=$("$sample")
check "the sample" "$hostile"
expect "a label" "$hostile" '^shop_heat\{text="line\\nbreak\\"\} 7\\nforged 1"\} 1$'
expect "NaN" "$hostile" '^shop_heat\{value="nan"\} [Nn]a[Nn]$'
expect "what is fine" "$hostile" '^shop_orders_total 8$'
for rejected in 'name"} 1' 'type"} 1' 'label"} 3' 'duplicate"} 1' 'exception"} 0'; do
  expect "what is not" "$hostile" "^fiber_rejected_metrics.reason=\"$rejected\$"
done

echo "== the demo"
start_demo "$demo" --load=1000 --leak --park=1000
await "1000 parked fibers" parked 1000
await "20 stranded fibers" stranded 20
expect_status 200 /metrics 'Content-Type: text/plain; version=0.0.4; charset=utf-8'
page=$(get /metrics)
check "the demo" "$page"
# What dashboards for Go ask for, and is known here.
for name in go_goroutines go_threads 'go_info\{version="fiberscope"\}' go_sched_gomaxprocs_threads \
  go_memstats_{alloc,sys,heap_alloc,heap_sys,heap_idle,heap_inuse,heap_released,stack_inuse,stack_sys,mcache_inuse,gc_sys}_bytes \
  go_memstats_{alloc_bytes,mallocs,frees}_total 'go_gc_duration_seconds\{quantile="0.5"\}' go_gc_duration_seconds_count \
  'go_sched_latencies_seconds_bucket\{le="\+Inf"\}' \
  process_{cpu_seconds_total,open_fds,max_fds,virtual_memory_bytes,virtual_memory_max_bytes,resident_memory_bytes,start_time_seconds}; do
  expect "a name of Go's" "$page" "^$name [0-9.+eInfNan]+$"
done
expect "parked" "$page" '^fiber_waiting\{reason="channel receive"\} 1[0-9]{3}$'
expect "stranded" "$page" '^fiber_waiting\{reason="channel send"\} [1-9][0-9]+$'
expect "oldest" "$page" '^fiber_oldest_wait_seconds\{reason="channel send"\} [0-9.e-]*[1-9]'
expect "latency" "$page" '^go_sched_latencies_seconds_count [1-9][0-9]+$'
expect "pool" "$page" '^fiber_pool_completed_total\{pool="order-worker"\} [1-9][0-9]+$'
expect "rejected" "$page" '^fiber_rejected_metrics\{reason="duplicate"\} 0$'
expect "requests" "$page" '^fiber_debug_request_seconds_count\{endpoint="/debug/pprof/goroutine"\} [1-9]'
# Counters do not go down.
for name in go_sched_goroutines_created_goroutines_total fiber_switches_total go_memstats_alloc_bytes_total; do
  later=$(get /metrics | sed -n "s/^$name //p")
  awk -v a="$(sed -n "s/^$name //p" <<<"$page")" -v b="$later" 'BEGIN { exit !(b >= a) }' || fail "$name went down to $later"
done
stop_demo
