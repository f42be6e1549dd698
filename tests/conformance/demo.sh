# Sourced by tests of the live demo: start and stop it, ask it, judge the answers. Needs $TEST_TMPDIR/fetch (fetch.go).

fail() { echo "FAIL: $*" >&2; exit 1; }

# expect WHAT TEXT PATTERN: some line of the text matches.
expect() { grep -qE -- "$3" <<<"$2" || fail "$1: no line matches '$3' in:"$'\n'"$(head -c 20000 <<<"$2")"; }

# Starts the demo on free ports; sets `address` to where its debug server listens. A stopped test takes it along.
start_demo() {
  demo_log=$TEST_TMPDIR/demo.log
  demo_errors=$TEST_TMPDIR/demo.errors
  : >"$demo_log"
  "$1" --addr=127.0.0.1:0 "${@:2}" >"$demo_log" 2>"$demo_errors" &
  demo_pid=$!
  trap 'kill -9 $demo_pid 2>/dev/null || true' EXIT
  address=
  # The demo prints the address once it listens.
  exec 3< <(tail -n +1 -f --pid=$demo_pid "$demo_log")
  local line
  while IFS= read -r line <&3; do
    if [[ $line =~ ^debug\ server\ on\ http://([^/]+)/ ]]; then
      address=${BASH_REMATCH[1]}
      break
    fi
  done
  exec 3<&-
  [[ -n $address ]] || fail "the demo did not start: $(cat "$demo_log" "$demo_errors")"
}

# Ends it as a user would; it must end by itself, with status 0.
stop_demo() {
  local status=0
  kill -INT "$demo_pid"
  wait "$demo_pid" || status=$?
  [[ $status == 0 ]] || fail "the demo ended with status $status: $(cat "$demo_log" "$demo_errors")"
  trap - EXIT
}

get() { "$TEST_TMPDIR/fetch" "http://$address$1" || fail "no answer to $1; the demo says: $(tail -c 5000 "$demo_errors")"; }

# expect_status STATUS PATH TEXT: the answer's status line and a part of its body.
expect_status() {
  local answer
  answer=$("$TEST_TMPDIR/fetch" -i "http://$address$2")
  [[ $(head -1 <<<"$answer") == "$1" && $answer == *"$3"* ]] || fail "$2: want $1 with '$3', got: $answer"
}

# await WHAT CONDITION ARGUMENTS: until the condition holds; the test's own time limit is the deadline.
await() {
  until "${@:2}"; do kill -0 "$demo_pid" || fail "the demo died waiting for $1: $(cat "$demo_log" "$demo_errors")"; done
}

# Conditions, told from the texts.
stranded() { (($(get '/debug/pprof/goroutine?debug=1' | count_of Audit) >= $1)); }
shows() { get '/debug/pprof/goroutine?debug=2' | grep -E -- "$1" >/dev/null; }
parked() { (($(get '/debug/pprof/goroutine?debug=1' | count_of 'Descend<...>') >= $1)); }
# Of the first group that shows the function.
count_of() { awk -v RS= -v name="$1" 'index($0, name) { n = split($0, l, "\n"); for (i = 1; i <= n; i++) if (l[i] ~ /^[0-9]+ @/) { split(l[i], w, " "); print w[1]; exit } } END { }' | grep . || echo 0; }
