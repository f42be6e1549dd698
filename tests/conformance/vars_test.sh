#!/bin/bash
# /debug/vars beside Go's own expvar: the same variables give the same bytes; and of the live demo, Go's runtime.MemStats reads memstats.
set -euo pipefail
sample=$1
demo=$2
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"
go build -o "$TEST_TMPDIR/read_vars" "$here/read_vars.go"

echo "== the same variables in Go"
go123=/usr/lib/go-1.23/bin/go
if [[ -x $go123 ]]; then
  # Go 1.19's, Debian's own, leaves < > & in keys of maps as they are.
  "$go123" run "$here/vars_twin.go" >"$TEST_TMPDIR/twin" || fail "the twin did not run"
  "$sample" >"$TEST_TMPDIR/sample"
  diff -u "$TEST_TMPDIR/twin" "$TEST_TMPDIR/sample" || fail "the pages differ"
  (($(wc -l <"$TEST_TMPDIR/sample") == 26)) || fail "a page of other variables: $(cat "$TEST_TMPDIR/sample")"
else
  echo "SKIPPED: Go 1.23 is not installed (third_party/install_deps.sh --conformance)"
fi

echo "== the demo"
start_demo "$demo" --load=1000 --park=1000
await "1000 parked fibers" parked 1000
expect_status 200 /debug/vars 'Content-Type: application/json; charset=utf-8'
page=$(get /debug/vars)
expect layout "$page" '^"cmdline": \["'
expect layout "$page" '^"fiberscope": \{"fibers":\{'
expect layout "$page" '^"memstats": \{"Alloc":[0-9]+,'
[[ ${page:0:2} == $'{\n' && ${page: -2} == $'\n}' ]] || fail "layout: $page"
read=$("$TEST_TMPDIR/read_vars" <<<"$page") || fail "Go does not read it: $page"
echo "$read"
expect cmdline "$read" '^cmdline=\[".*demo" "--addr=127.0.0.1:0" "--load=1000" "--park=1000"\]$'
expect heap "$read" '^Alloc=[1-9][0-9]* TotalAlloc=[1-9][0-9]* Sys=[1-9][0-9]* Mallocs=[1-9][0-9]*$'
# Of two moments, as the allocator tells it.
expect stacks "$read" '^StackInuse=[1-9][0-9]{7,} StackSys=[1-9][0-9]{7,} NumGC=0$'
expect fibers "$read" '^fibers=[1-9][0-9]{3}$'
stop_demo
