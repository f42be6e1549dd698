// Text for standard error from a process that is about to end: collected in a buffer of its own and written by write(2).
//
// No allocation, no lock: usable in a signal handler. One user at a time. Blocks while standard error does, but a second at most:
// then text is dropped until somebody reads again. 8 KiB: on a small stack have it static.
#ifndef FIBERSCOPE_RUNTIME_FATAL_TEXT_H_
#define FIBERSCOPE_RUNTIME_FATAL_TEXT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/control_block.h"

namespace fiberscope::internal {

class FatalText {
 public:
  // vsnprintf's formats, of integers and strings only: with those it neither allocates nor locks in glibc.
  __attribute__((format(printf, 2, 3))) void Add(const char* format, ...);

  // Printable ASCII as it is; the rest, quotes and backslashes as \xNN. Cut at 256 bytes.
  void AddEscaped(std::string_view text);

  // "    0xADDRESS function". InitializeSymbolizer() of absl must have been called. `exact`: not a return address.
  void AddPc(uintptr_t pc, bool exact = false);

  // ' "name"', or nothing.
  void AddFiberName(const ControlBlock& fiber);

  // "created by function (0xADDRESS) in fiber N".
  void AddCreator(const ControlBlock& fiber);

  void Flush();

 private:
  std::array<char, 8192> text_{};
  size_t size_ = 0;
  bool gave_up_ = false;  // nobody read for a second
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_FATAL_TEXT_H_
