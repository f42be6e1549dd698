#include "pprof/encode/printable.h"

#include <algorithm>
#include <iterator>

namespace fiberscope::pprof {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Sorted, disjoint, not adjacent. Made by make_printable_table.py.
constexpr Range kPrintable[] = {
#include "pprof/encode/printable_table.inc"
};

}  // namespace

bool IsPrintable(char32_t code_point) {
  if (code_point < 0x7f) return code_point >= 0x20;
  const Range* after = std::upper_bound(std::begin(kPrintable), std::end(kPrintable), code_point,
                                        [](char32_t c, const Range& range) { return c < range.first; });
  return after != std::begin(kPrintable) && code_point <= std::prev(after)->last;
}

}  // namespace fiberscope::pprof
