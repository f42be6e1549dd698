#!/bin/bash
# What the signal handlers can come to, read from the machine code: nothing that allocates, locks or asks the dynamic loader.
# Direct calls and jumps are followed through the program; what is left are functions of other objects, all of which are named here.
set -euo pipefail
cd "$(dirname "$0")"

# signal-safety(7) names these, or they are plain system calls or plain computations.
plain='__errno_location|__sigsetjmp|__longjmp_chk|__stack_chk_fail|abort|clock_gettime|close|getpid|getsockopt|gettid|getuid'
plain+='|bcmp|mem(chr|cmp|cpy|move|set)|open|poll|prctl|read|readlink|sigaction|str(n?len|chr)|syscall|tgkill|write'
# glibc: constant tables.
plain+='|sigabbrev_np|sigdescr_np'
# glibc: without locks or memory for the formats that are used, which have no floating point and no positions.
plain+='|(__)?v?snprintf(_chk)?'
# Abseil: async-signal-safe by contract.
plain+='|_ZN4absl[a-z0-9]*9SymbolizeEPKvPci'
# The way out of what cannot happen: string_view::substr() past the end, a destructor on the way of an exception.
plain+='|_ZSt24__throw_out_of_range_fmtPKcz|_Unwind_Resume|__cxa_begin_catch|_ZSt9terminatev'

count() { grep -cE "^$1" <<<"$graph" || true; }
fail() {
  echo "$1" | c++filt
  exit 1
}

# check PROGRAM HANDLERS PART...: the test sees what it is about, so many handlers, and how far they go.
check() {
  graph=$(objdump -d --no-show-raw-insn "$1" | awk -v roots='OnSignalEiP9siginfo_tPv$|OnFaultEiP9siginfo_tPv$' -f call_graph.awk)
  (($(count 'reaches .*(OnSignal|OnFault)EiP9siginfo_tPv$') == $2)) ||
    fail "$1: the handlers were not found: $(grep -E 'On(Signal|Fault)' <<<"$graph")"
  for part in "${@:3}"; do
    (($(count "reaches .*$part") > 0)) || fail "$1: $part is not reached any more; what is?"
  done

  unsafe=$(grep '^calls' <<<"$graph" | grep -vE " ($plain)@plt$" || true)
  [[ -z $unsafe ]] || fail "A signal handler can come to a function that is not safe there, by
$unsafe"

  # Of FunctionRef, which is known at the place of the call.
  indirect=$(grep '^indirect' <<<"$graph" | grep -vE 'FiberPool(11ForEachSlab|12ForEachBlock)' || true)
  [[ -z $indirect ]] || fail "A signal handler calls through a pointer, in
$indirect"
  echo "$1: $(count reaches) functions, $(count calls) calls into other objects"
}

check crash_dump_test 3 6Unwind 10HoldThread 10RecordHeld 9CopyStack 12CrashThreads 9FatalText
# That of the CPU profile, and again those of running stacks and of overflows.
check cpu_profiler_test 3 10CpuSampler8OnSignal 6Unwind 9CopyStack 12AddReference
