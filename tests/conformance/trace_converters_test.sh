#!/bin/bash
# What pprof/trace makes of traces besides the format of Go 1.22, judged by `go tool trace` of Go 1.19 (Debian's own) and 1.23: the older
# format, of a trace in which everything happens and of recorded ones, and profiles, against those the tools make of the same traces.
set -euo pipefail
sample=$1
recorder=$2
here=$(dirname "$0")
. "$here/go_environment.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"

fail() { echo "FAIL: $*" >&2; exit 1; }
expect() { grep -qE -- "$3" <<<"$2" || fail "$1: no line matches '$3' in:"$'\n'"$2"; }

# Go's versions, with the tool's option that prints all events.
tools=("/usr/bin/go -d")
go123=/usr/lib/go-1.23/bin/go
if [[ -x $go123 ]]; then
  tools+=("$go123 -d=1")
else
  echo "SKIPPED: go tool trace 1.23 is not installed (third_party/install_deps.sh --conformance)"
fi
for_each_tool() { for tool in "${tools[@]}"; do "$1" ${tool% *} "${tool#* }"; done; }

# GO OPTION FILE: every event as text; fails if the file is refused.
events() {
  "$1" tool trace "$2" "$3" >"$TEST_TMPDIR/events" 2>&1 || fail "$1 tool trace $2 $3: $(tail -3 "$TEST_TMPDIR/events")"
  cat "$TEST_TMPDIR/events"
}

# GO FILE: all views of it. The tool is run without `go` in between, so that it can be stopped.
views() {
  local log=$TEST_TMPDIR/viewer.log viewer address= line path
  : >"$log"
  BROWSER=true "$("$1" tool -n trace)" -http=127.0.0.1:0 "$2" >"$log" 2>&1 &
  viewer=$!
  trap 'kill -9 $viewer 2>/dev/null || true' EXIT
  exec 3< <(tail -n +1 -f --pid=$viewer "$log")
  while IFS= read -r line <&3; do
    if [[ $line =~ listening\ on\ (http://[0-9.:]+) ]]; then
      address=${BASH_REMATCH[1]}
      break
    fi
  done
  exec 3<&-
  [[ -n $address ]] || fail "$1 does not show $2: $(head -20 "$log")"
  for path in / /trace /jsontrace '/jsontrace?view=thread' /goroutines /usertasks /userregions /mmu; do
    "$TEST_TMPDIR/fetch" "$address$path" >"$TEST_TMPDIR/view" || fail "$1 does not show $path of $2: $(head -20 "$log")"
    [[ -s $TEST_TMPDIR/view ]] || fail "$1 shows nothing at $path of $2"
  done
  ! grep -q 'panic' "$log" || fail "$1 shows $2 and fails: $(grep -A 10 panic "$log")"
  kill -9 "$viewer"
  wait "$viewer" 2>/dev/null || true
  trap - EXIT
}

# FILE: how often, and how many microseconds (two events of the same time are 1 ns apart in Go's formats).
total() {
  local index
  for index in contentions delay; do
    go tool pprof -sample_index=$index -unit=ns -raw "$1" 2>/dev/null |
      awk -v column=$([[ $index == contentions ]] && echo 1 || echo 2) '
        /^Locations/ { exit } /^ +[0-9]+ +[0-9]+:/ { sub(":", "", $2); sum += $column } END { printf "%d ", sum }'
  done
}

"$sample" "$TEST_TMPDIR" || fail "the sample ended"

echo "== every event"
judge_every() {
  local text
  text=$(events "$1" "$2" "$TEST_TMPDIR/every.go119")
  case $1 in
    /usr/bin/go)
      expect "$1" "$text" '^0 GoCreate p=0 g=0 .* g=1 '
      expect "$1" "$text" '^[0-9]+ Gomaxprocs .* procs=3'
      expect "$1" "$text" 'GoStartLabel p=0 g=1 .* label=route=/a'
      expect "$1" "$text" 'UserTaskCreate .* taskid=50 pid=0 .* name=handle "x" <&> \\xff'
      expect "$1" "$text" 'GoSysExit p=1000003 g=2 '
      for type in GoWaiting GoSched GoPreempt GoSleep GoBlock GoBlockSend GoBlockRecv GoBlockSelect GoBlockSync \
        GoBlockCond GoBlockNet GoStop GoSysCall GoSysBlock GoEnd ProcStop HeapAlloc HeapGoal UserTaskEnd UserRegion UserLog CPUSample; do
        expect "$1" "$text" "^[0-9]+ $type "
      done
      ;;
    *)
      expect "$1" "$text" '^M=100 P=0 G=1 Label .* Label="route=/a"'
      expect "$1" "$text" 'G=1 RegionEnd .* Task=50 Type="parse"'
      expect "$1" "$text" 'GoID=3 Undetermined->Waiting'
      ;;
  esac
}
for_each_tool judge_every

echo "== recorded"
seed=${TRACE_SEED:-$RANDOM}
echo "TRACE_SEED=$seed"
"$recorder" "$TEST_TMPDIR" "${TRACE_COUNT:-8}" "$seed" || fail "the recorder ended"
judge_recorded() {
  local trace
  for trace in "$TEST_TMPDIR"/*.trace.go119; do events "$1" "$2" "$trace" >/dev/null; done
}
for_each_tool judge_recorded

echo "== views"
judge_views() {
  views "$1" "$TEST_TMPDIR/every.go119"
  views "$1" "$TEST_TMPDIR/counted.trace.go119"
  views "$1" "$TEST_TMPDIR/storm-0.trace.go119"
}
for_each_tool judge_views

echo "== JSON"
go build -o "$TEST_TMPDIR/trace_json" "$here/trace_json.go"
"$TEST_TMPDIR/trace_json" "$TEST_TMPDIR"/*.json || fail "JSON"

echo "== profiles"
judge_profiles() {
  local trace ours theirs
  for trace in "$TEST_TMPDIR"/*.trace; do
    "$1" tool trace -pprof=sync "$trace.go119" >"$TEST_TMPDIR/theirs.pb" 2>"$TEST_TMPDIR/errors" || fail "$1: $(<"$TEST_TMPDIR/errors")"
    read -ra ours <<<"$(total "$trace.sync.pb")"
    read -ra theirs <<<"$(total "$TEST_TMPDIR/theirs.pb")"
    ((ours[0] == theirs[0])) || fail "$trace: ${ours[0]} waits, of which $1 finds ${theirs[0]}"
    [[ $trace != */counted.trace ]] || ((ours[0] > 0)) || fail "nobody waited in $trace"
    # An event is moved on by 1 ns for each before it at the same time.
    local difference=$((theirs[1] - ours[1]))
    ((${difference#-} <= ours[0] + ours[1] / 1000)) || fail "$trace: ${ours[1]} ns, $1 says ${theirs[1]}"
  done
}
for_each_tool judge_profiles
for kind in sched syscall net; do
  go tool trace -pprof=$kind "$TEST_TMPDIR/counted.trace.go119" >"$TEST_TMPDIR/theirs.pb" 2>/dev/null || fail "$kind"
  ours=$(total "$TEST_TMPDIR/counted.trace.$kind.pb")
  theirs=$(total "$TEST_TMPDIR/theirs.pb")
  [[ ${ours% * } == "${theirs% * }" ]] || fail "$kind: $ours; go says $theirs"
done
top=$(go tool pprof -top -nodefraction=0 "$TEST_TMPDIR/counted.trace.sched.pb" 2>&1)
expect "top" "$top" '^Type: delay'
echo "the tools read all of it, and agree"
