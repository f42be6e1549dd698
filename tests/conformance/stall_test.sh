#!/bin/bash
# A fiber of the demo calls ::sleep(1) without marking it. Orders are answered all the same, meanwhile, and the report on
# standard error names the fiber.
set -euo pipefail
demo=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"

# It may come with a later stall: there is one report a second at most, and on a busy machine other fibers may be late as well, or
# this one before it sleeps.
reported() { grep -qE '^fiberscope: fiber [0-9]+ "stall" .*: blocked in the kernel' "$demo_errors"; }

# The fiber holds its thread, an order is answered, the fiber still does. Should all three have to wait for the end of the stall,
# there is no other one for 4 s.
answered_meanwhile() {
  local stalled="^goroutine $stalled_fiber \[running\] \{name: stall\}:\$"
  shows "$stalled" && "$TEST_TMPDIR/fetch" "$order_url" | grep -q '"left":' && shows "$stalled"
}

for processors in 1 2; do
  echo "== $processors processors"
  start_demo "$demo" --stall --processors=$processors
  order_url=$(sed -n 's/^order service on //p' "$demo_log")
  await "the report" reported
  report=$(grep -m1 '"stall" .*: blocked in the kernel' "$demo_errors")
  echo "$report"
  expect report "$report" '^fiberscope: fiber [0-9]+ "stall" has not let go of thread [0-9]+ for [0-9]+ ms: blocked in the kernel outside Blocking\(\);'
  expect report "$report" '; entry demo::SpawnStall.*; created at demo::SpawnStall'
  stalled_fiber=$(sed -E 's/^fiberscope: fiber ([0-9]+) .*/\1/' <<<"$report")
  await "an order during the stall" answered_meanwhile
  stop_demo
done
echo PASS
