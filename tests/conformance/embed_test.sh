#!/bin/bash
# The listing of README is the program of server/example, and the program does what README says.
set -euo pipefail
embed=$1
source=$2
readme=$3
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"

listing=$(awk '/^```cpp$/ { inside = 1; next } inside && /^```$/ { exit } inside' "$readme")  # the first one
diff <(cat "$source") <(echo "$listing") || fail "README's listing is not $source"

address=127.0.0.1:6060
"$embed" &
pid=$!
trap 'kill -9 $pid 2>/dev/null || true' EXIT
# Both ports are the program's own, so another program may have them: then there is nothing to judge here.
until exec 3<>/dev/tcp/127.0.0.1/7000; do kill -0 "$pid" || fail "the service did not start"; done 2>/dev/null
echo hello >&3
[[ $(head -1 <&3) == hello ]] || fail "no echo"
dump=$(get '/debug/pprof/goroutine?debug=2')
expect dump "$dump" '^goroutine [0-9]+ \[IO wait\] \{name: echo\}:$'
expect dump "$dump" '^Echo\(\.\.\.\)$'
expect dump "$dump" '^created by main::\{lambda#1\}::operator\(\) in goroutine [0-9]+$'
echo PASS
