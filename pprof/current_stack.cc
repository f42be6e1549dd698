#include "pprof/current_stack.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pprof/byte_sink.h"
#include "pprof/encode/goroutine_text.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::pprof {
namespace {

constexpr size_t kMostFrames = 1024;  // on the heap: a fiber's stack may have 12 KiB

}  // namespace

// Not inlined: the first frame, left out below, must be this function's own.
__attribute__((noinline)) std::string CurrentStackText(Symbolizer& symbolizer, const StackOwner& owner) {
  std::vector<uintptr_t> pcs(kMostFrames);
  const UnwindTable& table = UnwindTable::Refresh();
  const UnwindResult result = Unwind(table, CaptureRegisters(), owner.stack, pcs);

  FiberSnapshot self;
  self.id = owner.id;
  self.state = FiberState::kRunning;
  self.name = owner.name;
  self.labels = owner.labels.pairs();
  self.stack = std::span(pcs).first(result.depth);
  if (!self.stack.empty()) self.stack = self.stack.subspan(1);
  self.stack_available = !self.stack.empty();
  self.stack_truncated = result.end != UnwindEnd::kRoot;

  StringSink text;
  GoroutineTextEncoder(symbolizer, text).Write(self).IgnoreError();  // a StringSink never fails
  return text.text();
}

}  // namespace fiberscope::pprof
