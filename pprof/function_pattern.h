// A regular expression for function names, from outside.
#ifndef FIBERSCOPE_PPROF_FUNCTION_PATTERN_H_
#define FIBERSCOPE_PPROF_FUNCTION_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace re2 {
class RE2;
}

namespace fiberscope::pprof {

// Syntax: RE2's, case-sensitive, UTF-8; matches anywhere in a name unless anchored.
//
// Safe for patterns and names of anybody's making. A compiled pattern is a program of at most kMaxInstructions and takes, with what
// it remembers while it matches, at most kMaxMemoryBytes. A match takes time linear in the name's length, of which the first
// kMaxNameBytes count: one step per byte for ordinary patterns, one per byte and instruction for the worst.
//
// Thread-safe; copies share the compiled pattern.
class FunctionPattern {
 public:
  static constexpr size_t kMaxPatternBytes = 256;
  static constexpr int kMaxInstructions = 500;  // "(alpha|beta)::.*Run" has 26, a letter one
  static constexpr int64_t kMaxMemoryBytes = 256 << 10;
  static constexpr size_t kMaxNameBytes = 4096;

  // kInvalidArgument when `pattern` is too long, is not a regular expression, or is too large compiled. The message says
  // what is allowed and nothing of the pattern.
  static absl::StatusOr<FunctionPattern> Compile(std::string_view pattern);

  // `function`: demangled, in full. The pattern may match that, as profile.proto has it, or its short form, which the texts have
  // (ShortFunctionName). An unknown function, "", matches nothing.
  bool Matches(std::string_view function) const;

 private:
  explicit FunctionPattern(std::shared_ptr<const re2::RE2> pattern) : pattern_(std::move(pattern)) {}

  std::shared_ptr<const re2::RE2> pattern_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_FUNCTION_PATTERN_H_
