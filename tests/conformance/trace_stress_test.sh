#!/bin/bash
# A long trace of a great many fibers (trace_stress.cc), read by the real `go tool trace` of Go 1.23, event by event: it must count what
# our own reader does. A few seconds of 3000 fibers; the soak test has two minutes of 100,000:
#
#   bazel test --test_tag_filters= --test_output=all //tests/conformance:trace_stress_soak_test
set -euo pipefail
stress=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/trace_tools.sh"

fail() { echo "FAIL: $*" >&2; exit 1; }

trace=$TEST_TMPDIR/stress.trace
said=$("$stress" "$trace" --seed=$RANDOM "${@:2}") || fail "$said"
echo "$said"

find_trace_tool 1.23 || exit 0
counted=$(trace_parse "$trace_tool" "$trace" | awk '
  !/^M=/ { next }
  / Sync / { count["generations"]++ }
  / TaskBegin / { count["tasks"]++ }
  / RegionBegin / { count["regions"]++ }
  / Log / { count["logs"]++ }
  !/ StateTransition .* GoID=/ { next }
  / NotExist->Runnable/ { count["creations"]++ }
  / Runnable->Running/ { count["starts"]++ }
  / Running->NotExist/ { count["ends"]++ }
  / Running->Waiting/ { count["blocks"]++ }
  / Waiting->Runnable/ { count["unblocks"]++ }
  / Running->Syscall/ { count["calls"]++ }
  END { for (name in count) print name, count[name] }' | sort)
ours=$(grep -E '^[a-z]+ [0-9]+$' <<<"$said" | grep -v '^seed' | sort)
[[ $counted == "$ours" ]] || fail "go tool trace counts"$'\n'"$counted"$'\n'"and not"$'\n'"$ours"
echo "go tool trace counts the same"
