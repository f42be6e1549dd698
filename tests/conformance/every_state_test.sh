#!/bin/bash
# One fiber in every state beside one goroutine in every state: their dumps agree, but for the differences that compare_states.go
# lists and explains.
set -euo pipefail
ours=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
. "$here/go_environment.sh"
for program in every_state compare_states; do go build -o "$TEST_TMPDIR/$program" "$here/$program.go"; done

fail() { echo "FAIL: $*" >&2; exit 1; }

# Both print their address when all is in place, and end with their standard input.
cd "$TEST_TMPDIR"
mkfifo end ours.out go.out
"$ours" <end >ours.out &
ours_pid=$!
./every_state <end >go.out &
go_pid=$!
trap 'kill -9 $ours_pid $go_pid 2>/dev/null || true' EXIT
exec 3>end
read -r ours_address <ours.out || fail "our program did not start"
read -r go_address <go.out || fail "Go's program did not start"

./compare_states "http://$ours_address/debug/pprof/goroutine?debug=2" "http://$go_address/debug/pprof/goroutine?debug=2"

# When the scheduler stops, all these waits end.
exec 3>&-
wait "$ours_pid" || fail "our program ended with status $?"
echo PASS
