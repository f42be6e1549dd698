#include "pprof/function_pattern.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "pprof/symbolizer.h"
#include "re2/re2.h"

namespace fiberscope::pprof {
namespace {

bool Find(const re2::RE2& pattern, std::string_view name) {
  name = name.substr(0, FunctionPattern::kMaxNameBytes);
  return re2::RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), pattern);
}

}  // namespace

absl::StatusOr<FunctionPattern> FunctionPattern::Compile(std::string_view pattern) {
  const absl::Status invalid = absl::InvalidArgumentError(
      absl::StrFormat("must be a regular expression in RE2's syntax, of at most %d bytes and, compiled, %d instructions",
                      kMaxPatternBytes, kMaxInstructions));
  if (pattern.size() > kMaxPatternBytes) return invalid;
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_never_capture(true);
  options.set_max_mem(kMaxMemoryBytes);
  auto compiled = std::make_shared<const re2::RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!compiled->ok() || compiled->ProgramSize() > kMaxInstructions) return invalid;
  return FunctionPattern(std::move(compiled));
}

bool FunctionPattern::Matches(std::string_view function) const {
  if (function.empty()) return false;
  return Find(*pattern_, function) || Find(*pattern_, ShortFunctionName(std::string(function)));
}

}  // namespace fiberscope::pprof
