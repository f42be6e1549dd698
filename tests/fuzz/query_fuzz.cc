// Any bytes as a query: nothing crashes, limits hold, and what is returned follows from the input.
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/query.h"

namespace {

using fiberscope::server::PercentDecode;
using fiberscope::server::Query;

void Check(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view raw(reinterpret_cast<const char*>(data), size);
  for (const bool plus_is_space : {false, true}) {
    const std::optional<std::string> decoded = PercentDecode(raw, plus_is_space);
    if (!decoded.has_value()) continue;
    Check(decoded->size() <= raw.size());
    if (raw.find_first_of("%+") == std::string_view::npos) Check(*decoded == raw);
  }
  const absl::StatusOr<Query> query = Query::Parse(raw);
  if (!query.ok()) return 0;
  for (const std::string_view name : {"debug", "gc", "seconds", ""}) {
    const absl::StatusOr<std::optional<std::string>> text = query->Get(name);
    const absl::StatusOr<std::optional<int64_t>> number = query->GetInteger(name, 1000);
    if (!text.ok()) {
      Check(number.status() == text.status());
      continue;
    }
    // Present and not empty, or without a value.
    if (number.ok()) Check(number->has_value() == (text->has_value() && !(*text)->empty()));
    if (number.ok() && number->has_value()) {
      Check(**number >= 0);
      Check(**number <= 1000);
      Check((*text)->find_first_not_of("0123456789") == std::string::npos);
    }
  }
  return 0;
}
