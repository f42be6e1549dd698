# Sourced by tests of execution traces, after go_environment.sh: the judges are Debian's `go tool trace` of Go 1.19, which reads the
# first format only, and of Go 1.23, which reads both (install_deps.sh --conformance). Functions here return a status other than 0,
# and say on stderr why, if the tool finds anything wrong; what the tool makes of the trace goes to stdout. trace_view needs
# $TEST_TMPDIR/fetch (fetch.go).

# for_each_trace_tool FUNCTION: calls it with "1.19" or "1.23" and the TOOL that the functions below take, for each that is installed.
for_each_trace_tool() {
  local version
  for version in 1.19 1.23; do
    if find_trace_tool "$version"; then "$1" "$version" "$trace_tool" || return; fi
  done
}

# find_trace_tool VERSION: sets `trace_tool`, or says what is skipped and returns a status other than 0.
find_trace_tool() {
  local go=/usr/lib/go-$1/bin/go option=
  if [[ -x $go ]]; then
    # The program itself: `go tool` would not pass a signal on to it.
    trace_tool=$("$go" tool -n trace)
    return
  fi
  [[ $1 == 1.19 ]] || option=" --conformance"
  echo "SKIPPED: go tool trace $1 is not installed (third_party/install_deps.sh$option)"
  return 1
}

# trace_parse TOOL FILE: all events, a line each; 1.23 has a line for each frame of their stacks, too.
trace_parse() {
  "$1" -d=1 "$2" 2>"$TEST_TMPDIR/trace_parse.errors" && return
  echo "trace_parse $*: $(tail -c 5000 "$TEST_TMPDIR/trace_parse.errors")" >&2
  return 1
}

# trace_pprof TOOL FILE sched|sync|net|syscall: that profile, as `go tool pprof` reads it. Of a broken trace 1.23 makes it
# of what it can read, and does not say so: trace_parse tells.
trace_pprof() {
  "$1" -pprof="$3" "$2" 2>"$TEST_TMPDIR/trace_pprof.errors" && return
  echo "trace_pprof $*: $(tail -c 5000 "$TEST_TMPDIR/trace_pprof.errors")" >&2
  return 1
}

# with_trace_viewer TOOL FILE COMMAND...: starts the viewer without a browser, runs the command with one more argument, the
# viewer's address (http://127.0.0.1:PORT), and stops the viewer. Fails as the command does, and if the viewer complains meanwhile.
# A subshell: the viewer ends with it, however that ends.
with_trace_viewer() (
  tool=$1 file=$2
  shift 2
  unset DISPLAY WAYLAND_DISPLAY
  exec 3< <(BROWSER=true exec "$tool" -http=127.0.0.1:0 "$file" 2>&1)
  viewer=$!
  trap 'kill "$viewer" 2>/dev/null || true' EXIT
  said= address=
  while [[ -z $address ]] && IFS= read -r line <&3; do
    said+=$line$'\n'
    if [[ $line =~ listening\ on\ (http://[0-9.:]+) ]]; then address=${BASH_REMATCH[1]}; fi
  done
  # 1.23 shows as much of a broken trace as it can read, and says so.
  if [[ -z $address || $said == *"Encountered error"* ]]; then
    echo "the viewer $tool $file: $said" >&2
    exit 1
  fi
  status=0
  "$@" "$address" || status=$?
  kill "$viewer" 2>/dev/null || true
  # What it says after its address is about a view that it could not show as a whole.
  said=$(cat <&3)
  if ((status != 0)) || grep -qE 'panic|failed|[Ee]rror' <<<"$said"; then
    echo "the viewer $tool $file, asked by $1: $said" >&2
    exit 1
  fi
)

# trace_view TOOL FILE PATH...: what the viewer shows at the paths, each as it is and then a line's end. Profiles (/io, /block,
# /syscall, /sched, /region...) need graphviz but with raw=1 in their query.
trace_view() { with_trace_viewer "$1" "$2" fetch_views "${@:3}"; }
fetch_views() {
  local address=${*: -1} path
  for path in "${@:1:$#-1}"; do
    "$TEST_TMPDIR/fetch" "$address$path" || return
    echo
  done
}
