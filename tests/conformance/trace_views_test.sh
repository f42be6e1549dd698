#!/bin/bash
# Every view of `go tool trace`, of Go 1.19 (Debian's own) and 1.23, against what the traced program says that it did: how many fibers
# of which function, what they waited for and how often, tasks and regions with their times, arrows, and changes of the number of
# processors. In both formats, and with the stacks of idle fibers that 1.23 knows.
set -euo pipefail
sample=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/trace_tools.sh"
go build -o "$TEST_TMPDIR/trace_views" "$here/trace_views.go"

fail() { echo "FAIL: $*" >&2; exit 1; }

"$sample" "$TEST_TMPDIR" || fail "the sample ended"
# What the numbers of processors were, one after the other. A trace says it again when it is cut.
processors=$(grep -oE '"processors": \[[^]]*' "$TEST_TMPDIR/facts.json" | grep -oE '[0-9]+')

judge() {
  local format shown
  for format in go119 go122 go123; do
    [[ $1 != 1.19 || $format == go119 ]] || continue
    echo "== $format, seen by $1"
    shown=$(trace_parse "$2" "$TEST_TMPDIR/views.$format" | sed -nE 's/.*(gomaxprocs:threads" Value=Uint64\(|Gomaxprocs .* procs=)([0-9]+).*/\2/p' | uniq)
    [[ $shown == "$processors" ]] || fail "numbers of processors: "$shown", not "$processors
    with_trace_viewer "$2" "$TEST_TMPDIR/views.$format" "$TEST_TMPDIR/trace_views" "$1" "$format" "$TEST_TMPDIR/facts.json" ||
      fail "$1 shows something else of $format"
  done
}
for_each_trace_tool judge
