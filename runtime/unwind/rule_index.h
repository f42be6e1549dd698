// An immutable map from code address to unwind rule, compact enough that a walk finds it in the caches.
//
//   ranges       the executable segments, by address
//   pages        per 256 bytes of a range: the row that is in force at its first byte
//   row_offsets  sorted within a range: from this offset on ...          (4 bytes a row)
//   row_rules    ... this rule; rule 0 is "none", the holes between functions   (2 bytes a row)
//   rules        digests; complete_rules the complete ones, one for one
//
// A lookup is a search among a few ranges, two words of `pages`, and a binary search among the ~10 rows of one page.
// Every range has a row at offset 0 and one index entry more than pages, so a search always has a row before it and
// an end.
//
// Immutable, so thread-safe. Find() is async-signal-safe and never blocks; ~50 ns for a random address, mostly misses.
#ifndef FIBERSCOPE_RUNTIME_UNWIND_RULE_INDEX_H_
#define FIBERSCOPE_RUNTIME_UNWIND_RULE_INDEX_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/unwind/unwind_rule.h"

namespace fiberscope {

struct RuleIndex {
  static constexpr int kPageShift = 8;

  struct Range {
    uintptr_t begin = 0;
    uintptr_t end = 0;      // less than 4 GiB above
    size_t first_page = 0;  // in `pages`
  };

  std::vector<Range> ranges;
  std::vector<uint32_t> pages;
  std::vector<uint32_t> row_offsets;
  std::vector<uint16_t> row_rules;
  std::vector<UnwindRule> rules;
  std::vector<FrameRule> complete_rules;
  std::vector<uint8_t> expressions;

  // Null: no rule.
  const UnwindRule* Find(uintptr_t pc) const {
    auto range = std::upper_bound(ranges.begin(), ranges.end(), pc,
                                  [](uintptr_t address, const Range& r) { return address < r.begin; });
    if (range == ranges.begin() || pc >= (--range)->end) return nullptr;
    const auto offset = static_cast<uint32_t>(pc - range->begin);
    const uint32_t* page = &pages[range->first_page + (offset >> kPageShift)];
    const uint32_t* rows = row_offsets.data();
    // The first row of the page is at or before `offset`, so the one that is in force precedes the first beyond it.
    const uint32_t* beyond = std::upper_bound(rows + page[0] + 1, rows + page[1] + 1, offset);
    const uint16_t rule = row_rules[beyond - rows - 1];
    return rule == 0 ? nullptr : &rules[rule];
  }

  size_t bytes() const {
    return ranges.size() * sizeof(Range) + pages.size() * sizeof(uint32_t) + row_offsets.size() * sizeof(uint32_t) +
           row_rules.size() * sizeof(uint16_t) + rules.size() * sizeof(UnwindRule) +
           complete_rules.size() * sizeof(FrameRule) + expressions.size();
  }
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_RULE_INDEX_H_
