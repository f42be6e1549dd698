#!/bin/bash
# Go's parser, `go tool pprof` and Go's text libraries judge what the encoders write.
set -euo pipefail
sample=$1
here=$(dirname "$0")
. "$here/go_environment.sh"
out=$TEST_TMPDIR/out
mkdir -p "$out"

fail() { echo "FAIL: $*" >&2; exit 1; }

# expect WHAT TEXT PATTERN: some line of the text matches.
expect() { grep -qE -- "$3" <<<"$2" || fail "$1: no line matches '$3' in:"$'\n'"$2"; }

# Output of `go tool pprof`; it must not complain about anything.
pprof() {
  local result=$TEST_TMPDIR/pprof_result errors=$TEST_TMPDIR/pprof_errors
  go tool pprof "$@" >"$result" 2>"$errors" || fail "pprof $*: $(cat "$errors")"
  [[ ! -s $errors ]] || fail "pprof $* complains: $(cat "$errors")"
  tr -d '\0' <"$result"  # hostile names may have them
}

"$sample" "$out"

echo "== parser"
go build -o "$TEST_TMPDIR/parse_profile" "$here/parse_profile.go"
parsed=$("$TEST_TMPDIR/parse_profile" "$out"/{shop,hostile,large,empty}{.pb.gz,_debug1.txt}) || fail "$parsed"
echo "$parsed"
expect parser "$parsed" 'shop.pb.gz: type=goroutine/count samples=5 total=7 .*mappings=3 labels=\["route" "tenant"\]'
expect parser "$parsed" 'shop_debug1.txt: type=goroutine/count samples=5 total=7 '
expect parser "$parsed" 'hostile.pb.gz: type=goroutine/count samples=16 total=18 '
expect parser "$parsed" 'hostile_debug1.txt: type=goroutine/count samples=16 total=18 '
expect parser "$parsed" 'large.pb.gz: type=goroutine/count samples=100000 total=100000 '
expect parser "$parsed" 'large_debug1.txt: type=goroutine/count samples=100000 total=100000 '
expect parser "$parsed" 'empty.pb.gz: type=goroutine/count samples=0 total=0 '

echo "== go tool pprof"
top=$(pprof -top "$out/shop.pb.gz")
echo "$top"
expect top "$top" '^File: shop$'
expect top "$top" '^Build ID: 0123456789abcdef$'
expect top "$top" '^Type: goroutine$'
expect top "$top" '^Time: Nov 14, 2023 at'
expect top "$top" 'of 7 total'
expect top "$top" '^ +1 14.29%.* 5 71.43%  shop::Worker\(shop::Queue&\)$'
expect top "$top" ' int shop::\(anonymous namespace\)::Process<std::vector<int, std::allocator<int> > >'
! grep -qE 'FiberMain|fiber_entry|RunEntry' <<<"$top" || fail "root machinery is shown: $top"

traces=$(pprof -traces "$out/shop.pb.gz")
expect traces "$traces" 'route: */orders'
expect traces "$traces" '^ +3   fiberscope_switch_context'
expect traces "$traces" '^ +shop::Queue::Take\(\)'

raw=$(pprof -raw "$out/shop.pb.gz")
expect raw "$raw" '^PeriodType: goroutine count'
expect raw "$raw" '^Period: 1'
expect raw "$raw" '0x403040 M=1 shop::Queue::Take\(\) /src/shop/queue.h:12'
expect raw "$raw" '^ +shop::Worker\(shop::Queue&\) /src/shop/shop.cc:44 s=40'
expect raw "$raw" '^1: 0x400000/0x500000/0x0 /opt/shop/bin/shop 0123456789abcdef \[FN\]\[FL\]\[LN\]\[IN\]'

peek=$(pprof -peek 'shop::Worker' "$out/shop.pb.gz")
expect peek "$peek" 'shop::Queue::Take\(\)'

lines=$(pprof -lines -top "$out/shop.pb.gz")
expect lines "$lines" 'shop::Worker\(shop::Queue&\) /src/shop/shop.cc:42'

for file in "$out"/{hostile,large}.pb.gz; do pprof -top "$file" >/dev/null; pprof -traces "$file" >/dev/null; done
# Of text only the addresses are read; there is no binary to symbolize them by.
expect legacy "$(go tool pprof -symbolize=none -top "$out/shop_debug1.txt" 2>&1)" 'of 7 total'

echo "== text"
go build -o "$TEST_TMPDIR/encoder_text" "$here/encoder_text.go"
judge() { "$TEST_TMPDIR/encoder_text" "$@" || fail "$*"; }
for name in shop hostile empty large; do judge columns "$out/${name}_debug1.txt"; done
judge quotes "$out/quotes.txt"
judge printable "$out/printable.txt"
echo PASS
