#!/bin/bash
# The real demo under load, judged by the unmodified `go tool pprof`, by Go's own profile parser and by curl's eyes.
set -euo pipefail
demo=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
. "$here/demo.sh"

go build -o "$TEST_TMPDIR/parse_profile" "$here/parse_profile.go"
go build -o "$TEST_TMPDIR/fetch" "$here/fetch.go"

# Output of `go tool pprof` on a path of the demo; it may say where it fetches from and saves to, nothing else.
pprof() {
  local path=${!#} arguments=("${@:1:$#-1}")
  local result=$TEST_TMPDIR/pprof_result errors=$TEST_TMPDIR/pprof_errors
  go tool pprof "${arguments[@]}" "http://$address$path" >"$result" 2>"$errors" || fail "pprof $*: $(cat "$errors")"
  local complaints
  complaints=$(grep -vE '^(Fetching profile over HTTP from|Saved profile in) ' "$errors" || true)
  [[ -z $complaints ]] || fail "pprof $* complains: $complaints"
  cat "$result"
}

echo "== under load, with a leak"
start_demo "$demo" --load=200 --leak
# The leak: one more fiber every 10th order.
await "20 stranded fibers" stranded 20

one=$(get '/debug/pprof/goroutine?debug=1')
expect debug=1 "$one" '^goroutine profile: total [0-9]+$'
expect debug=1 "$one" '^[0-9]+ @( 0x[0-9a-f]+)+$'
expect debug=1 "$one" '^# labels: \{"route":"/order"\}$'
expect debug=1 "$one" $'^#\t0x[0-9a-f]+\tdemo::OrderService::Audit\\+0x[0-9a-f]+\t+server/example/order_service.cc:[0-9]+$'
expect debug=1 "$one" 'demo::OrderService::PlaceOrder::\{lambda#1\}::operator\(\)\+0x'
[[ $(grep -c 'demo::OrderService::Audit' <<<"$one") == 1 ]] || fail "the stranded fibers are more than one group: $one"
# A fiber that runs at the moment may be in the midst of it.
stranded_group=$(awk -v RS= '/OrderService::Audit/' <<<"$one")
! grep -qE 'fiberscope::internal|RunEntry|__invoke' <<<"$stranded_group" || fail "debug=1 shows machinery: $one"

two=$(get '/debug/pprof/goroutine?debug=2')
block=$(awk -v RS= '/OrderService::Audit/ { print; exit }' <<<"$two")
expect debug=2 "$block" '^goroutine [0-9]+ \[chan send\] \{name: audit, route: "?/order"?\}:$'
expect debug=2 "$block" '^demo::OrderService::Audit\(\.\.\.\)$'
expect debug=2 "$block" $'^\tserver/example/order_service.cc:[0-9]+( \\+0x[0-9a-f]+)?$'
expect debug=2 "$block" '^created by demo::OrderService::PlaceOrder in goroutine [0-9]+$'
expect debug=2 "$two" '^goroutine [0-9]+ \[sleep\] \{name: housekeeper\}:$'
# While the disk is slow every connection has an order that waits for it.
await "a connection without an order" shows '^goroutine [0-9]+ \[IO wait\] \{name: connection\}:$'
await "an inventory without orders" shows '^goroutine [0-9]+ \[chan receive\] \{name: inventory\}:$'
order_log=$(sed -n 's/^order log in //p' "$demo_log")
expect "order log" "$(cat "$order_log")" '^[0-9]+ (apple|pear|plum) [1-5]$'

top=$(pprof -top /debug/pprof/goroutine)
head -8 <<<"$top"
expect top "$top" '^File: demo$'
expect top "$top" '^Build ID: [0-9a-f]{40}$'
expect top "$top" '^Type: goroutine$'
expect top "$top" 'of [0-9]+ total$'
expect top "$top" 'demo::OrderService::Audit\(unsigned long\)'

traces=$(pprof -traces /debug/pprof/goroutine)
expect traces "$traces" '^ +route: */order$'
expect traces "$traces" 'demo::OrderService::RunHousekeeper\(\)'
expect raw "$(pprof -raw /debug/pprof/goroutine)" '/demo [0-9a-f]{40} \[FN\]\[FL\]\[LN\]\[IN\]$'
expect peek "$(pprof -peek 'OrderService::Audit' /debug/pprof/goroutine)" 'demo::OrderService::Audit\(unsigned long\)'
expect lines "$(pprof -lines -top /debug/pprof/goroutine)" 'Audit\(unsigned long\) .*server/example/order_service.cc:[0-9]+'
# Addresses only: pprof asks /debug/pprof/symbol for the names, by POST.
expect symbolz "$(pprof -symbolize=remote:force -top '/debug/pprof/goroutine?debug=1')" 'demo::OrderService::RunHousekeeper'
# Filters are part of the URL: only the stranded fibers.
stranded='/debug/pprof/goroutine?reason=chan+send&label=route:/order&fn=OrderService::Audit'
filtered=$(pprof -top "$stranded")
expect "filtered top" "$filtered" '100% +[0-9]+ +100% +demo::OrderService::Audit\(unsigned long\)'
! grep -q 'RunHousekeeper' <<<"$filtered" || fail "the filter lets others pass: $filtered"
expect "filtered traces" "$(pprof -traces "$stranded")" '^ +route: */order$'
headers=$(get "$stranded&debug=2" | grep '^goroutine ')
! grep -vF ' [chan send] {name: audit, ' <<<"$headers" || fail "debug=2 shows fibers that do not pass the filter"
tags=$(pprof -tags '/debug/pprof/goroutine?tags=state,wait,creator,id')
for tag in state wait_reason wait_ns created_by goroutine_id; do expect tags "$tags" "^ *$tag: Total "; done
expect tags "$tags" ': chan send$'
expect tags "$tags" ': demo::OrderService::PlaceOrder$'
expect "focus on a tag" "$(pprof -top -tagfocus=wait_reason='chan send' '/debug/pprof/goroutine?tags=state')" 'demo::OrderService::Audit'
# A different time, the same program: one stays the base of the other.
pprof -top -base "$TEST_TMPDIR/pprof.demo.goroutine.001.pb.gz" /debug/pprof/goroutine >/dev/null

echo "== threads"
threads=$(get '/debug/pprof/threads?debug=2')
expect threads "$threads" '^thread [0-9]+ "demo" \[sleeping\]:$'
expect threads "$threads" '^main\(\.\.\.\)$'
expect threads "$threads" '^thread [0-9]+ "dbg-io" \['
expect threads "$threads" '^thread [0-9]+ "fiber-w0" \['
expect "threads, debug=1" "$(get '/debug/pprof/threads?debug=1')" '^threads profile: total [0-9]+$'
expect "threads, top" "$(pprof -top /debug/pprof/threads)" '^Type: threads$'
expect "threads, traces" "$(pprof -traces /debug/pprof/threads)" '^ +thread: *demo$'
expect_status 400 '/debug/pprof/threads?state=running' 'state'

echo "== wall"
expect "wall, top" "$(pprof -top -show=OrderService '/debug/pprof/wall?seconds=2')" '^Type: time$'
wall=$TEST_TMPDIR/wall.pb.gz
get '/debug/fgprof?seconds=2' >"$wall"
expect "wall, parsed" "$("$TEST_TMPDIR/parse_profile" "$wall")" 'type=samples/count .* labels=\[.*"route" "state".*\]'
raw=$(go tool pprof -raw "$wall" 2>&1)
expect "wall, raw" "$raw" '^PeriodType: wall nanoseconds$'
expect "wall, raw" "$raw" '^Period: 10101010$'
expect "wall, raw" "$raw" '^samples/count time/nanoseconds$'
expect "wall, comments" "$(go tool pprof -comments "$wall" 2>&1)" '^[0-9]+ looks at all goroutines in 2\.[0-9]+ s, 99 per second asked for; '
# The housekeeper lives all the time: 2 s, however many looks there were.
expect "wall, housekeeper" "$(go tool pprof -top -focus=RunHousekeeper "$wall" 2>&1)" ' 2(\.[0-9]+)?s +[0-9.]+% +demo::OrderService::RunHousekeeper\(\)$'
expect "wall, tags" "$(go tool pprof -tags "$wall" 2>&1)" '^ *state: Total '
expect "wall, tags" "$(go tool pprof -tags "$wall" 2>&1)" ': chan send$'
expect "wall, tags" "$(go tool pprof -tags "$wall" 2>&1)" ': /order$'
expect "wall, folded" "$(get '/debug/fgprof?seconds=1&format=folded')" '^demo::OrderService::Start::[^ ;]+;demo::OrderService::RunHousekeeper [0-9]+$'
expect_status 400 '/debug/pprof/wall?hz=1001' 'hz'
expect_status 400 '/debug/fgprof?format=svg' 'format'

echo "== threadcreate, and a profile of the demo's own"
created=$(get '/debug/pprof/threadcreate?debug=1')
expect threadcreate "$created" '^threadcreate profile: total [0-9]+$'
expect threadcreate "$created" $'^#\t0x[0-9a-f]+\tstd::thread::_M_start_thread'
expect threadcreate "$created" $'^#\t0x[0-9a-f]+\tmain\\+0x[0-9a-f]+\t+server/main.cc:[0-9]+$'
expect "threadcreate's main thread" "$created" '^1 @ 0x0$'
expect threadcreate "$created" '^# the main thread and others that were not seen being created, without a stack: 1$'
made=$(sed -nE '1s/.* total ([0-9]+)$/\1/p' <<<"$created")
((made >= $(get '/debug/pprof/threads?debug=1' | sed -nE '1s/.* total ([0-9]+)$/\1/p'))) ||
  fail "there are more threads than were made: $created"
top=$(pprof -top /debug/pprof/threadcreate)
expect "threadcreate, top" "$top" '^Type: threadcreate$'
expect "threadcreate, top" "$top" '% +std::thread::_M_start_thread\('
expect "threadcreate, top" "$top" '% +main$'
connections='/debug/pprof/demo/connections'
expect connections "$(get "$connections?debug=1")" '^demo/connections profile: total [0-9]+$'
expect connections "$(get "$connections?debug=1")" $'^#\t0x[0-9a-f]+\tdemo::OrderService::ServeConnection\\+0x'
get "$connections" >"$TEST_TMPDIR/connections.pb.gz"  # pprof saves what it fetches in a file of the profile's name: no slashes
expect "connections, top" "$(go tool pprof -top "$TEST_TMPDIR/connections.pb.gz")" 'demo::OrderService::ServeConnection'
expect "connections, parsed" "$("$TEST_TMPDIR/parse_profile" "$TEST_TMPDIR/connections.pb.gz")" 'type=demo/connections/count'
get /debug/pprof/threadcreate >"$TEST_TMPDIR/threadcreate.pb.gz"
expect "threadcreate, parsed" "$("$TEST_TMPDIR/parse_profile" "$TEST_TMPDIR/threadcreate.pb.gz")" 'type=threadcreate/count'
expect_status 400 "$connections?seconds=1" 'not supported'
expect_status 404 '/debug/pprof/goroutineleak' 'Unknown profile'

echo "== bad input"
[[ $(get '/debug/pprof/cmdline' | tr '\0' ' ') == "$demo --addr=127.0.0.1:0 --load=200 --leak" ]] || fail "cmdline"
expect_status 404 '/debug/pprof/nope' 'Unknown profile'
expect_status 400 '/debug/pprof/goroutine?debug=abc' 'debug'
expect_status 400 '/debug/pprof/goroutine?debug=99999999999999999999' 'debug'
expect_status 400 '/debug/pprof/goroutine?debug=1&debug=2' 'debug'
expect_status 400 '/debug/pprof/goroutine?fn=(' 'fn'
expect_status 400 '/debug/pprof/goroutine?debug=1&limit=5' 'debug=2'
expect_status 400 '/debug/pprof/goroutine?tags=evil' 'tags'
index=$(get /debug/pprof/)
expect index "$index" "<a href='goroutine\?debug=1'>goroutine</a>"
expect index "$index" "<a href='demo/connections\?debug=1'>demo/connections</a>"
expect index "$index" "<a href='threadcreate\?debug=1'>threadcreate</a>"
expect index "$index" "<a href='threads\?debug=1'>threads</a>"
expect index "$index" "<a href='wall\?debug=1'>wall</a>"
used=$("$demo" --addr="$address" 2>&1) && fail "a second demo on $address started"
[[ $(wc -l <<<"$used") == 1 && $used == demo:*"$address"* ]] || fail "port in use is not one clear line: $used"
for bad in --gateway_addr=x --error_every=-1 --log_level=loud --log_format=xml --addr=nowhere --addr=1.2.3.4.5:6 --addr=192.0.2.1:0 --park=-1 --load=-1 --service_addr=x --processors=-3 \
  --log_dir=/nowhere --log_dir=/dev/null --log_dir=/proc; do
  status=0
  said=$("$demo" --addr=127.0.0.1:0 $bad 2>&1) || status=$?
  [[ $status == 1 && $(wc -l <<<"$said") == 1 && $said == demo:* ]] || fail "$bad: status $status, said: $said"
done
help=$("$demo" --help || true)  # Abseil's ends with status 1
for flag in addr gateway_addr service_addr processors load leak park stall log_dir log_level log_format slow_every error_every; do expect --help "$help" "^ +--$flag \("; done
said=$(TMPDIR=/nowhere "$demo" --addr=127.0.0.1:0 2>&1) && fail "the demo started without a place for its log"
[[ $said == "demo: order log: make a directory in /nowhere: No such file or directory" ]] || fail "TMPDIR=/nowhere: said: $said"
stop_demo
[[ ! -e ${order_log%/*} ]] || fail "the order log is left behind in ${order_log%/*}"

echo "== 20,000 parked fibers: the three forms agree and keep being answered under load"
start_demo "$demo" --park=20000 --load=100
await "20000 parked fibers" parked 20000
expect "parked in debug=1" "$(get '/debug/pprof/goroutine?debug=1')" '^20000 @ '
[[ $(get '/debug/pprof/goroutine?debug=2' | grep -c '{name: parked}:$') == 20000 ]] || fail "debug=2 does not list all"
get /debug/pprof/goroutine >"$TEST_TMPDIR/parked.pb.gz"
parsed=$("$TEST_TMPDIR/parse_profile" "$TEST_TMPDIR/parked.pb.gz")
expect proto "$parsed" 'type=goroutine/count'
expect "parked in proto" "$(pprof -traces /debug/pprof/goroutine)" '^ +20000 +[^ ]'
# Page after page of 3,000, in the order of their ids.
ids='s/^goroutine ([0-9]+) .*/\1/p'
parked_fibers='/debug/pprof/goroutine?debug=2&label=name:parked'
all=$(get "$parked_fibers" | sed -nE "$ids")
paged=
pages=0
after=0
while [[ -n $after ]]; do
  "$TEST_TMPDIR/fetch" -i "http://$address$parked_fibers&limit=3000&after=$after" >"$TEST_TMPDIR/page"
  paged+=$(sed -nE "$ids" "$TEST_TMPDIR/page")$'\n'
  after=$(sed -nE 's/^X-Fiberscope-Next-After: ([0-9]+)\r?$/\1/p' "$TEST_TMPDIR/page")
  pages=$((pages + 1))
done
[[ $pages == 7 ]] || fail "20,000 fibers are $pages pages"
[[ ${paged%$'\n'} == "$(sort -n <<<"$all")" && $(wc -l <<<"$all") == 20000 ]] || fail "the pages list other fibers than the dump"
# Ten calls deep, as the flag says.
[[ $(awk -v RS= '/name: parked/ { print; exit }' <<<"$(get '/debug/pprof/goroutine?debug=2')" | grep -c 'Descend<...>(...)') == 10 ]] ||
  fail "a parked fiber is not ten calls deep"
stop_demo
echo PASS
