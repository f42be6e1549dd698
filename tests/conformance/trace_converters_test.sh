#!/bin/bash
# What pprof/trace makes of traces besides the format of Go 1.22, judged by `go tool trace` of Go 1.19 (Debian's own) and 1.23: the older
# format, of a trace in which everything happens and of recorded ones, and profiles, against those the tools make of the same traces.
set -euo pipefail
sample=$1
recorder=$2
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/trace_tools.sh"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"

fail() { echo "FAIL: $*" >&2; exit 1; }
expect() { grep -qE -- "$3" <<<"$2" || fail "$1: no line matches '$3' in:"$'\n'"$2"; }

# TOOL FILE: every event as text; fails if the file is refused.
events() { trace_parse "$1" "$2" || fail "$2"; }

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
  text=$(events "$2" "$TEST_TMPDIR/every.go119")
  case $1 in
    1.19)
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
    1.23)
      expect "$1" "$text" '^M=100 P=0 G=1 Label .* Label="route=/a"'
      expect "$1" "$text" 'G=1 RegionEnd .* Task=50 Type="parse"'
      expect "$1" "$text" 'GoID=3 Undetermined->Waiting'
      ;;
  esac
}
for_each_trace_tool judge_every

echo "== recorded"
seed=${TRACE_SEED:-$RANDOM}
echo "TRACE_SEED=$seed"
"$recorder" "$TEST_TMPDIR" "${TRACE_COUNT:-8}" "$seed" || fail "the recorder ended"
judge_recorded() {
  local trace
  for trace in "$TEST_TMPDIR"/*.trace.go119; do events "$2" "$trace" >/dev/null; done
}
for_each_trace_tool judge_recorded

echo "== views"
judge_views() {
  local trace
  for trace in every counted.trace storm-0.trace; do
    trace_view "$2" "$TEST_TMPDIR/$trace.go119" / /trace /jsontrace '/jsontrace?view=thread' /goroutines /usertasks /userregions /mmu \
      >"$TEST_TMPDIR/views" || fail "$1 does not show $trace"
  done
}
for_each_trace_tool judge_views

echo "== JSON"
go build -o "$TEST_TMPDIR/trace_json" "$here/trace_json.go"
"$TEST_TMPDIR/trace_json" "$TEST_TMPDIR"/*.json || fail "JSON"

echo "== profiles"
judge_profiles() {
  local trace ours theirs
  for trace in "$TEST_TMPDIR"/*.trace; do
    trace_pprof "$2" "$trace.go119" sync >"$TEST_TMPDIR/theirs.pb" || fail "$1: $trace"
    read -ra ours <<<"$(total "$trace.sync.pb")"
    read -ra theirs <<<"$(total "$TEST_TMPDIR/theirs.pb")"
    ((ours[0] == theirs[0])) || fail "$trace: ${ours[0]} waits, of which $1 finds ${theirs[0]}"
    [[ $trace != */counted.trace ]] || ((ours[0] > 0)) || fail "nobody waited in $trace"
    # An event is moved on by 1 ns for each before it at the same time.
    local difference=$((theirs[1] - ours[1]))
    ((${difference#-} <= ours[0] + ours[1] / 1000)) || fail "$trace: ${ours[1]} ns, $1 says ${theirs[1]}"
  done
}
for_each_trace_tool judge_profiles
if find_trace_tool 1.19; then
  for kind in sched syscall net; do
    trace_pprof "$trace_tool" "$TEST_TMPDIR/counted.trace.go119" $kind >"$TEST_TMPDIR/theirs.pb" || fail "$kind"
    ours=$(total "$TEST_TMPDIR/counted.trace.$kind.pb")
    theirs=$(total "$TEST_TMPDIR/theirs.pb")
    [[ ${ours% * } == "${theirs% * }" ]] || fail "$kind: $ours; go says $theirs"
  done
fi
top=$(go tool pprof -top -nodefraction=0 "$TEST_TMPDIR/counted.trace.sched.pb" 2>&1)
expect "top" "$top" '^Type: delay'
echo "the tools read all of it, and agree"
