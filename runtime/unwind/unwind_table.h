// For every code address of the process: how to find the caller's frame.
//
// Built from .eh_frame of all loaded objects (PT_GNU_EH_FRAME), compacted to a sorted array of code offsets with a
// 16-bit rule number each, plus a page index; a small program has ~80,000 rows, ~400 distinct rules, 0.5 MB, 3-5 ms.
// Formats: DWARF 5 section 6.4 (call frame information), LSB 5.0 "Exception Frames" (.eh_frame, .eh_frame_hdr).
//
// Tables are immutable, process-wide, and never freed: a signal handler may be reading one. After a dlopen, Refresh()
// makes a new one and publishes it; the old one stays.
//
// Thread-safe. Current() and Find() are async-signal-safe and never block. Refresh() allocates, blocks the thread, and
// takes the dynamic linker's lock (dl_iterate_phdr): never call it from a signal handler.
#ifndef FIBERSCOPE_RUNTIME_UNWIND_UNWIND_TABLE_H_
#define FIBERSCOPE_RUNTIME_UNWIND_UNWIND_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fiberscope {

struct UnwindRule;  // unwind_rule.h

class UnwindTable {
 public:
  // The newest table, or null before the first Refresh().
  static const UnwindTable* Current();

  // Builds a table if there is none or if objects were loaded or unloaded since; otherwise cheap (compares the
  // dynamic linker's counters). Returns the newest table.
  static const UnwindTable& Refresh();

  // The rule for the instruction at `pc`, or null when no loaded object describes it. For a return address pass
  // address - 1: the call may be the last instruction of its function.
  const UnwindRule* Find(uintptr_t pc) const;

  struct Stats {
    size_t objects = 0;
    size_t functions = 0;  // frame description entries read
    size_t refused = 0;    // of those: malformed, or beyond a limit; they have no rule
    size_t rows = 0;
    size_t rules = 0;
    size_t bytes = 0;
  };
  Stats stats() const;

  ~UnwindTable();
  UnwindTable(const UnwindTable&) = delete;
  UnwindTable& operator=(const UnwindTable&) = delete;

 private:
  struct Rep;
  explicit UnwindTable(std::unique_ptr<const Rep> rep);
  std::unique_ptr<const Rep> rep_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_UNWIND_TABLE_H_
