// Arbitrary registers over an arbitrary stack: the walk ends and reads no byte outside the bounds.
//
// Input: eight words of registers, a flag byte, then the stack. Of a word whose top byte is 0xc0 the rest is an offset
// into this program's code, of one with 0x50 an offset into the stack; others are themselves.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "runtime/unwind/unwinder.h"
#include "tests/runtime/unwind/guarded_stack.h"

namespace {

constexpr size_t kStackWords = 512;

// Reads words from the input, then zeros.
class Input {
 public:
  explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  uintptr_t Word(uintptr_t stack) {
    uintptr_t word = 0;
    Take(&word, sizeof(word));
    const uintptr_t offset = word & 0xffffff;
    switch (word >> 56) {
      case 0xc0:
        return reinterpret_cast<uintptr_t>(&fiberscope::Unwind) - (1 << 18) + offset % (1 << 20);
      case 0x50:
        return stack + offset % (kStackWords * sizeof(word) + 64) - 32;
      default:
        return word;
    }
  }
  uint8_t Byte() {
    uint8_t byte = 0;
    Take(&byte, 1);
    return byte;
  }

 private:
  void Take(void* to, size_t size) {
    const size_t available = std::min(size, bytes_.size());
    if (available > 0) std::memcpy(to, bytes_.data(), available);
    bytes_ = bytes_.subspan(available);
  }

  std::span<const uint8_t> bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fiberscope;  // NOLINT: the function has to be outside
  static const UnwindTable& table = UnwindTable::Refresh();
  static const testing::GuardedStack stack(kStackWords * sizeof(uintptr_t));
  const StackBounds bounds = stack.bounds();
  Input input(std::span(data, size));
  Registers registers = {.pc = input.Word(bounds.low),
                         .sp = input.Word(bounds.low),
                         .rbp = input.Word(bounds.low),
                         .rbx = input.Word(bounds.low),
                         .r12 = input.Word(bounds.low),
                         .r13 = input.Word(bounds.low),
                         .r14 = input.Word(bounds.low),
                         .r15 = input.Word(bounds.low)};
  registers.pc_is_exact = (input.Byte() & 1) != 0;
  for (uintptr_t& word : stack.words()) word = input.Word(bounds.low);
  std::array<uintptr_t, 64> pcs;
  const UnwindResult result = Unwind(table, registers, bounds, pcs);
  // Every frame but an interrupted one takes at least a word.
  if (result.depth == 0 || result.depth > pcs.size() || result.depth > kStackWords + 2) __builtin_trap();
  return 0;
}
