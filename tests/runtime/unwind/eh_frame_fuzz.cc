// Arbitrary bytes as .eh_frame_hdr and .eh_frame of a loaded object: no read outside them, no endless loop, and a
// result in which every lookup is safe.
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/unwind/unwind_table_builder.h"
#include "tests/runtime/unwind/fake_object.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fiberscope::testing::FakeObject;
  const FakeObject object({data, size});
  fiberscope::UnwindTableBuilder builder;
  builder.AddObject(object.info());
  const auto index = builder.Finish();
  for (uintptr_t pc = object.code_begin() - 1; pc <= object.code_end(); pc += 13) {
    const fiberscope::UnwindRule* rule = index->Find(pc);
    if (rule != nullptr && !rule->complete->IsUsable()) __builtin_trap();
  }
  return 0;
}
