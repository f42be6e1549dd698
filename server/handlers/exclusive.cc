#include "server/handlers/exclusive.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/http/router.h"

namespace fiberscope::server {

using std::chrono::steady_clock;

void Exclusive::TakenFor(std::chrono::nanoseconds time) {
  ends_at_.store((steady_clock::now() + time).time_since_epoch().count(), std::memory_order_relaxed);
}

Response Exclusive::Refusal(std::string_view what, const absl::Status& why) const {
  const bool in_use = why.code() == absl::StatusCode::kAlreadyExists;
  const bool impossible = why.code() == absl::StatusCode::kUnimplemented;
  Response response = ErrorResponse(in_use ? 429 : impossible ? 501 : 500, absl::StrCat(std::string(what), ": ", why.message()));
  if (in_use) {
    const steady_clock::time_point ends_at{steady_clock::duration(ends_at_.load(std::memory_order_relaxed))};
    const auto left = std::chrono::ceil<std::chrono::seconds>(ends_at - steady_clock::now());
    response.head.fields.emplace_back("Retry-After", absl::StrCat(std::max<int64_t>(left.count(), 1)));
  }
  return response;
}

}  // namespace fiberscope::server
