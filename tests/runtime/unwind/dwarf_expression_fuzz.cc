// Arbitrary bytes as a DWARF expression: it ends, and reads no memory but the stack given.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/unwind/dwarf_expression.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto stack = std::make_unique<std::array<uintptr_t, 16>>();
  const auto low = reinterpret_cast<uintptr_t>(stack->data());
  stack->fill(low);
  const fiberscope::StackBounds bounds{low, low + sizeof(*stack)};
  const fiberscope::FrameRegisters registers = {low + 8, low, low + 64, low - 8, low + 128, 1, 2, 3};
  // In a block of its own size, so that AddressSanitizer sees a read beyond the end.
  const auto expression = std::make_unique<uint8_t[]>(size);
  std::copy_n(data, size, expression.get());
  fiberscope::EvaluateExpression(std::span(expression.get(), size), registers, bounds, std::nullopt);
  fiberscope::EvaluateExpression(std::span(expression.get(), size), registers, bounds, low + 16);
  return 0;
}
