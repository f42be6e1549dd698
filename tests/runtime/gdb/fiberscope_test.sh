#!/bin/bash
# runtime/gdb/fiberscope.py on a live process, on a core file of it, on a stripped program, and with everything wrong.
set -euo pipefail
script=$1
program=$(realpath "$2")
stripped=$3
core=$TEST_TMPDIR/core

fail() { echo "FAIL: $*" >&2; exit 1; }

# part NAME: what gdb printed between the line "== NAME" and the next such line.
part() { awk -v name="== $1" '/^== / { on = $0 == name; next } on' <<<"$output"; }
# expect NAME PATTERN [COUNT]: so many lines of the part, by default at least one, match.
expect() {
  local count
  count=$(part "$1" | grep -cE -- "$2") || true
  if [[ -n ${3-} ]]; then [[ $count == "$3" ]]; else ((count > 0)); fi || fail "$1: $count lines match '$2' in:"$'\n'"$output"
}
# look ARGUMENTS: runs gdb with the commands on standard input, each of them a part. Errors do not end it.
look() {
  {
    echo "set pagination off"
    echo "source $script"
    cat <<'EOF'
python
def part(name, command):
    gdb.write("== %s\n" % name)
    try:
        gdb.execute(command)
    except gdb.error as error:
        gdb.write("error: %s\n" % error)
end
EOF
    cat
  } >"$TEST_TMPDIR/commands.gdb"
  output=$(gdb -nx -batch -x "$TEST_TMPDIR/commands.gdb" "$@" </dev/null 2>&1) || fail "gdb: $output"
  ! grep -E 'Traceback|Python Exception|Error in sourced' <<<"$output" || fail "$output"
}
run() { printf 'python part("""%s""", """%s""")\n' "$1" "${2-$1}"; }  # NAME [COMMAND]

# gdb 13 writes all address space that is reserved for stacks, so let that be little, and it gives up at a guard page.
start='
set environment FIBERSCOPE_STACK_GUARDS none
set exec-wrapper prlimit --as=1073741824
break AllParked
run
'

# What a live process and a core file answer alike.
questions() {
  run "info fibers"
  run "info fibers -reason sleep"
  run "info fibers -state running"
  run "info fibers -limit 2"
  run "info fibers -group"
  echo 'python layout = Layout(); by_state = {}'
  echo 'python [by_state.setdefault((f.state_text(), f.name), f) for f in layout.fibers()]'
  echo 'python gdb.set_convenience_variable("receiver", by_state["channel receive", "receiver"].id)'
  echo 'python gdb.set_convenience_variable("computer", by_state["running", "computer"].id)'
  run "thread before" "bt"
  run "receiver" "fiber \$receiver bt"
  run "select" "fiber \$receiver"
  run "selected bt" "bt"
  run "current" "fiber"
  # What the innermost frame has are the registers that the switch stored just below its stack pointer.
  echo 'python
pushed = {"pc": 8, "rbp": 16, "rbx": 24, "r12": 32, "r13": 40, "r14": 48, "r15": 56}
def is_as_pushed(name):
    return int(gdb.parse_and_eval("*(unsigned long*)($sp - %d) == (unsigned long)$%s" % (pushed[name], name))) == 1
end'
  run "registers" "python print([name for name in pushed if not is_as_pushed(name)])"
  echo 'python
while gdb.selected_frame().name() != "parked::Receive":
    gdb.execute("up", to_string=True)
end'
  run "frame"
  run "locals" "info locals"
  run "still selected" "info fibers -state running"
  run "selected frame" "frame"
  run "none" "fiber none"
  run "thread after" "bt"
  run "select again" "fiber \$receiver"
  run "thread"
  run "thread by command" "bt"
  run "computer" "fiber \$computer bt"
  run "apply" "fiber apply all bt"
}

check_answers() {
  local receives='^  fiber [0-9]+ \[channel receive(, [0-9]+ seconds)?\]'
  expect "info fibers" "$receives"' "owner" in parked::Own at .*/parked_fibers.cc:[0-9]+, created by a thread$' 1
  expect "info fibers" "$receives"' "receiver" in parked::Receive at .*/parked_fibers.cc:[0-9]+, created by fiber [0-9]+$' 5
  expect "info fibers" '^  fiber [0-9]+ \[sleep, ([1-5][0-9] seconds|[1-4] minutes)\] "a \\"quoted\\" \\x01 name" in parked::Sleep at ' 1
  expect "info fibers" '^  fiber [0-9]+ \[mutex lock, [5-9] minutes\] in parked::Lock at ' 1
  expect "info fibers" '^  fiber [0-9]+ \[running\] "computer" on thread [0-9]+ \(LWP [0-9]+\) in parked::Compute at ' 1
  expect "info fibers" '^  fiber [0-9]+ \[blocking(, [0-9]+ seconds)?\] "reader" on thread [0-9]+ \(LWP [0-9]+\) in ' 1
  expect "info fibers" '^  fiber [0-9]+ \[runnable\] "fresh" in .*/parked_fibers.cc:[0-9]+, created by fiber [0-9]+$' 1
  expect "info fibers" '^11 fibers\.$'
  expect "info fibers -reason sleep" '^  fiber ' 1
  expect "info fibers -reason sleep" '^1 of 11 fibers\.$'
  expect "info fibers -state running" '^  fiber .*"computer"' 1
  expect "info fibers -limit 2" '^  fiber ' 2
  expect "info fibers -limit 2" '^  \.\.\. 9 more$'
  part "info fibers -group" | head -1 | grep -qE '^5 @ 0x[0-9a-f]+ 0x' || fail "the largest group is not first: $output"
  expect "info fibers -group" '^[0-9]+ @ ' 7
  expect "info fibers -group" 'parked::Receive at .*/parked_fibers.cc:[0-9]+$' 1
  expect "thread before" '^#0 +.*AllParked' 1
  expect "receiver" '^fiber [0-9]+ \[channel receive.*"receiver":$' 1
  expect "receiver" '^#[0-9]+ .*parked::Receive \(' 1
  expect "receiver" '^#[0-9]+ .*fiberscope_fiber_entry' 1
  expect "receiver" 'AllParked|^#0 ' 0
  expect "select" '^\[Switching to fiber [0-9]+ \[channel receive'
  expect "selected bt" '^#[0-9]+ .*parked::Receive \(' 1
  expect "selected bt" 'AllParked' 0
  expect "current" '^\[Current fiber is [0-9]+\]$'
  [[ $(uname -m) != x86_64 ]] || expect "registers" '^\[\]$'
  expect "locals" '^doubled = 42$'
  expect "selected frame" 'parked::Receive'
  expect "thread after" '^#0 +.*AllParked' 1
  expect "thread by command" '^#0 +.*AllParked' 1
  expect "computer" '^fiber [0-9]+ \[running\] "computer" on thread [0-9]+'
  expect "computer" '^#[0-9]+ .*parked::Compute' 1
  expect "apply" '^fiber [0-9]+ \[runnable\] "fresh", not begun yet: .*/parked_fibers.cc:[0-9]+:$' 1
  expect "apply" '^#[0-9]+ .*parked::Block ' 1
  expect "apply" '^fiber [0-9]+ \[' 11
  expect "apply" '^#[0-9]+ .*in fiberscope_fiber_entry' 11
}

# ---- A live process.
look "$program" < <(
  echo "$start"
  # Two that wait for long.
  echo 'python
def write(address, data):
    gdb.selected_inferior().write_memory(address, data)
layout = Layout()
now_ns = Clock(layout).now_ns
for fiber in layout.fibers():
    seconds = {"sleep": 12, "mutex lock": 330}.get(fiber.state_text())
    if seconds is not None:
        write(fiber.address + layout.since_ns, (now_ns - seconds * 10**9).to_bytes(8, "little", signed=True))
end'
  questions
  run "unknown id" "fiber 123456"
  run "no id" "fiber x"
  run "no option" "info fibers -foo"
  run "no state" "info fibers -state parked"
  run "no reason" "info fibers -reason parked"
  run "no number" "info fibers -limit -1"
  run "no value" "info fibers -limit"
  run "no command" "fiber \$receiver nonsense"
  run "apply ids" "fiber apply \$receiver 123456 bt"
  run "core" "generate-core-file $core"
  # A state that is none, a stack pointer that is none, a description that is another version's, then none.
  echo 'python
sleeper, locker = [f for f in layout.fibers() if f.state_text() in ("sleep", "mutex lock")]
gdb.set_convenience_variable("sleeper", sleeper.id)
gdb.set_convenience_variable("locker", locker.id)
write(sleeper.address + layout.state + 7, b"\x77")
write(locker.address + layout.saved_sp, b"\x08\0\0\0\0\0\0\0")
end'
  run "corrupted" "info fibers"
  run "corrupted stack" "fiber \$sleeper bt"
  run "corrupted sp" "fiber \$locker"
  run "corrupted apply" "fiber apply all bt 1"
  echo 'python write(locker.address + layout.saved_sp, locker.saved_sp.to_bytes(8, "little"))'
  echo 'python pc_address = locker.saved_sp + layout.registers[0][1]; saved_pc = read(pc_address, 8, "the pc")'
  echo 'python write(pc_address, bytes(8))'
  run "no stack" "info fibers -reason 'mutex lock'"
  echo 'python write(pc_address, saved_pc)'
  echo 'python write(sleeper.address + layout.state + 7, bytes([sleeper.state]))'
  run "step" "fiber \$receiver"
  run "continue" "fiber \$locker continue"
  run "after continue" "bt"
  run "no fibers" "info fibers"
  run "none of them" "fiber apply all bt"
  echo 'python write(layout_address() + 8, b"\x63")'
  run "version" "info fibers"
  echo 'python write(layout_address(), b"x")'
  run "magic" "fiber 1"
  run "kill"
  run "no process" "info fibers"
)
check_answers
expect "unknown id" '^error: No fiber 123456: '
expect "no id" '^error: "x" is no fiber'
expect "no option" '^error: info fibers has no option "-foo": -state S, '
expect "no state" '^error: No state "parked": dead, new, runnable, running, waiting, blocking\.$'
expect "no reason" '^error: No wait reason "parked": none, sleep, io, channel receive, '
expect "no number" '^error: -limit needs a number, not "-1"\.$'
expect "no value" '^error: -limit needs a value\.$'
expect "no command" '^error: Undefined command: "nonsense"'
expect "apply ids" 'parked::Receive' 1
expect "apply ids" '^error: No fiber 123456: '
expect "corrupted" '^  fiber [0-9]+ \[corrupted state word 0x77' 1
expect "corrupted" '^  fiber [0-9]+ \[mutex lock.*its saved stack pointer 0x8 is not in its stack' 1
expect "corrupted" '^  fiber ' 11
expect "corrupted stack" '^error: Fiber [0-9]+ has a corrupted state word, 0x77[0-9a-f]*: state 119 is none of dead, new, '
expect "corrupted sp" '^error: Fiber [0-9]+.s stack is unavailable'
expect "no stack" "^  fiber [0-9]+ \\[mutex lock.*stack is unavailable: it reads as zero"
expect "corrupted apply" '^#' 9
expect "after continue" '^#0 +.*AllParked' 1
expect "no fibers" '^No fibers\.$'
expect "version" '^error: The runtime describes itself in version 99, this script knows version 1: '
expect "magic" '^error: What is at 0x[0-9a-f]+ \(fiberscope_debugger_layout\) is no description'
expect "no process" '^error: There is no process: '
echo "live: $(part "info fibers" | head -3)"

# ---- Its core file.
look "$program" "$core" < <(questions)
check_answers
echo "core: $(part "info fibers" | head -3)"

# ---- Without symbols the fibers are found all the same; their functions have no names, so it is the entry that is shown.
look "$stripped" "$core" < <(
  run "info fibers"
  run "apply" "fiber apply all bt"
)
expect "info fibers" '^  fiber [0-9]+ \[channel receive\] "receiver" in 0x[0-9a-f]+, created by fiber [0-9]+$' 5
expect "info fibers" '^11 fibers\.$'
expect "apply" '^fiber [0-9]+ \[' 11
rm "$core"

# ---- A core file by the kernel, of stacks with guard pages, where it leaves them to the process.
if [[ $(</proc/sys/kernel/core_pattern) == core && $(ulimit -Hc) == unlimited ]]; then
  mkdir "$TEST_TMPDIR/aborted"
  status=0
  (cd "$TEST_TMPDIR/aborted" && ulimit -c unlimited && exec prlimit --as=1073741824 "$program" abort) || status=$?
  [[ $status == 134 ]] || fail "the program should have aborted, status $status"
  look "$program" "$TEST_TMPDIR"/aborted/core* < <(
    run "info fibers"
    run "apply" "fiber apply all bt"
  )
  expect "info fibers" '^  fiber [0-9]+ \[channel receive.*\] "receiver" in parked::Receive at ' 5
  expect "info fibers" '^  fiber [0-9]+ \[running\] "computer" on thread [0-9]+ ' 1
  expect "info fibers" '^11 fibers\.$'
  expect "apply" '^#[0-9]+ .*parked::Receive' 5
  expect "apply" '^#[0-9]+ .*in fiberscope_fiber_entry' 11
  echo "core by the kernel: $(part "info fibers" | head -3)"
  rm -r "$TEST_TMPDIR/aborted"
else
  echo "core by the kernel: not tried, core_pattern is $(</proc/sys/kernel/core_pattern), the limit $(ulimit -Hc)"
fi

# ---- A program without the runtime.
look /bin/true < <(
  echo "starti"
  run "foreign" "info fibers"
  run "foreign fiber" "fiber 1 bt"
)
expect "foreign" '^error: No Fiberscope runtime here: '
expect "foreign fiber" '^error: No Fiberscope runtime here: '
echo PASS
