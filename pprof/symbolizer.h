// Code addresses to functions, files and lines.
//
// Two tiers (both cached for ever, per address):
//   names   from .symtab, else .dynsym, of the loaded object; ready at once (~1 us per new address)
//   lines   file, line and inlined frames from DWARF by libbacktrace; its state is loaded by a background thread at first
//           use (75-150 ms for a large binary), one address costs ~0.1 ms when new
//
// A file is believed only if it is the one that is mapped: program headers and build id must agree. A separate debug file is
// looked for where gdb does (/usr/lib/debug/.build-id, .gnu_debuglink beside the object, in .debug, below /usr/lib/debug)
// and must have the same build id; its .symtab gives names at once, too. The main program is read through /proc/self/exe, so
// it may be deleted or replaced. A library that has been keeps its exported names, which are in memory, and nothing else.
#ifndef FIBERSCOPE_PPROF_SYMBOLIZER_H_
#define FIBERSCOPE_PPROF_SYMBOLIZER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace fiberscope::pprof {

// One logical frame.
struct Frame {
  std::string function = {};     // demangled, in full; "" when unknown
  std::string system_name = {};  // mangled; "" when unknown (an inlined frame of which DWARF has no linkage name)
  std::string file = {};         // "" when unknown
  int line = 0;                  // 0 when unknown
  int start_line = 0;            // of the function; 0 when unknown
  bool operator==(const Frame&) const = default;
};

// Why an answer has no files and lines, if it has none.
enum class LineState {
  kFinal,    // it has them, or the address is no code
  kPending,  // the debug information is still being read: ask again
  kAbsent,   // there is none for this address, or its file is gone
};

// What a profile with answers that are kPending says. A line of its own.
inline constexpr std::string_view kLinesPending = "Lines are pending: debug information is still being read, ask again.";

// What is known of one code address.
struct Symbolized {
  std::vector<Frame> frames;       // innermost inlined call first, the physical function last; empty when unknown
  uintptr_t function_start = 0;    // entry of the physical function; 0 when unknown
  LineState lines = LineState::kFinal;
  bool operator==(const Symbolized&) const = default;
};

// Thread-safe. Blocks the thread. Not async-signal-safe.
class Symbolizer {
 public:
  virtual ~Symbolizer() = default;

  // `pc` is an address inside the instruction meant: for a return address, pass address - 1. The reference stays valid
  // and unchanged as long as the symbolizer lives... except that an answer given before lines were ready is replaced,
  // not changed: the old reference stays valid.
  virtual const Symbolized& Lookup(uintptr_t pc) = 0;

  // Waits until lines are available, at most `timeout`. False: they are not yet, answers have names only.
  virtual bool WaitForLines(std::chrono::milliseconds timeout) = 0;
};

// The one of this process. Starts its background loader at the first WaitForLines or Lookup.
std::unique_ptr<Symbolizer> MakeProcessSymbolizer();

// "std::vector<int, std::allocator<int> >::push_back(int const&)" -> "std::vector<...>::push_back": no parameter list,
// return type, qualifiers, ABI tags ("[abi:cxx11]") or clone suffix ("[clone .cold]"); template arguments collapsed to
// "<...>". What is left is what the parsers of Go's text forms accept (gostackparse, panicparse): no blank or control
// character, no nested round brackets, '/' and '%' escaped as Go escapes them in package paths:
//   (anonymous namespace)::f()           (anonymous)::f
//   operator new(unsigned long)          operator_new          other blanks become '_' as well: operator_unsigned_int
//   main::{lambda(int)#1}::operator()    main::{lambda#1}::operator()
//   operator/(V, V)                      operator%2F
// A name that is not C++ ("main", "_ZN3bad") stays as it is. Never empty unless `demangled` is.
std::string ShortFunctionName(const std::string& demangled);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SYMBOLIZER_H_
