#include "server/handlers/fiber_parameters.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "pprof/encode/goroutine_state.h"

namespace fiberscope::server {
namespace {

constexpr const char* kNames[] = {"state", "reason", "minwait", "label", "fn", "tags", "limit", "after"};
constexpr int64_t kMaxLimit = 10'000;
constexpr int64_t kMaxId = std::numeric_limits<int64_t>::max();

// Nothing when absent or empty.
absl::StatusOr<std::optional<std::string>> GetText(const Query& query, std::string_view name) {
  absl::StatusOr<std::optional<std::string>> text = query.Get(name);
  if (text.ok() && text->has_value() && (*text)->empty()) text->reset();
  return text;
}

absl::StatusOr<std::optional<FiberState>> GetState(const Query& query) {
  const auto text = GetText(query, "state");
  if (!text.ok()) return text.status();
  if (!text->has_value()) return std::optional<FiberState>();
  const std::optional<FiberState> state = pprof::ParseGoroutineStatus(**text);
  if (!state) return BadParameter("state", "must be one of: " + pprof::GoroutineStatuses());
  return state;
}

absl::StatusOr<std::optional<WaitReason>> GetReason(const Query& query) {
  const auto text = GetText(query, "reason");
  if (!text.ok()) return text.status();
  if (!text->has_value()) return std::optional<WaitReason>();
  const std::optional<WaitReason> reason = pprof::ParseWaitReason(**text);
  if (!reason) return BadParameter("reason", "must be one of: " + pprof::GoroutineWaitReasons());
  return reason;
}

absl::StatusOr<std::vector<Label>> GetLabels(const Query& query) {
  const auto texts = query.GetAll("label");
  if (!texts.ok()) return texts.status();
  std::vector<Label> labels;
  for (const std::string& text : *texts) {
    if (text.empty()) continue;
    const size_t colon = text.find(':');
    if (colon == std::string::npos || colon == 0) return BadParameter("label", "must be KEY:VALUE");
    labels.push_back({text.substr(0, colon), text.substr(colon + 1)});
  }
  return labels;
}

absl::StatusOr<std::optional<pprof::FunctionPattern>> GetFunction(const Query& query) {
  const auto text = GetText(query, "fn");
  if (!text.ok()) return text.status();
  if (!text->has_value()) return std::optional<pprof::FunctionPattern>();
  absl::StatusOr<pprof::FunctionPattern> pattern = pprof::FunctionPattern::Compile(**text);
  if (!pattern.ok()) return BadParameter("fn", std::string(pattern.status().message()));
  return std::optional(*std::move(pattern));
}

// The member of `tags` that is called so; null: none.
bool* FindTag(pprof::FiberTags& tags, std::string_view name) {
  if (name == "state") return &tags.state;
  if (name == "wait") return &tags.wait;
  if (name == "creator") return &tags.creator;
  if (name == "id") return &tags.id;
  return nullptr;
}

absl::StatusOr<pprof::FiberTags> GetTags(const Query& query, int debug) {
  const auto text = GetText(query, "tags");
  if (!text.ok()) return text.status();
  pprof::FiberTags tags;
  if (!text->has_value()) return tags;
  if (debug != 0) return absl::InvalidArgumentError("\"tags\" parameter needs debug=0");
  for (const absl::string_view name : absl::StrSplit(**text, ',')) {
    bool* const tag = FindTag(tags, {name.data(), name.size()});
    if (tag == nullptr) return BadParameter("tags", "must be some of state, wait, creator, id, separated by commas");
    *tag = true;
  }
  return tags;
}

absl::StatusOr<std::optional<pprof::FiberPageOptions>> GetPage(const Query& query, int debug) {
  const auto limit_text = GetText(query, "limit");
  if (!limit_text.ok()) return limit_text.status();
  const auto limit = query.GetInteger("limit", kMaxLimit);
  if (!limit.ok() || limit->value_or(1) == 0) {
    return BadParameter("limit", absl::StrFormat("must be an integer from 1 to %d", kMaxLimit));
  }
  const auto after = query.GetInteger("after", kMaxId);
  if (!after.ok()) return after.status();
  if (!limit->has_value() && !after->has_value()) return std::optional<pprof::FiberPageOptions>();
  const char* const name = limit->has_value() ? "limit" : "after";
  if (debug != 2) return absl::InvalidArgumentError(absl::StrFormat("\"%s\" parameter needs debug=2", name));
  if (!limit->has_value()) return absl::InvalidArgumentError("\"after\" parameter needs \"limit\"");
  return std::optional(pprof::FiberPageOptions{.after = {static_cast<uint64_t>(after->value_or(0))},
                                               .limit = static_cast<size_t>(**limit)});
}

// Sets `value`, or returns the error.
template <typename T>
absl::Status Assign(absl::StatusOr<T> from, T& value) {
  if (from.ok()) value = *std::move(from);
  return from.status();
}

}  // namespace

absl::StatusOr<FiberParameters> ParseFiberParameters(const Query& query, int debug) {
  FiberParameters parameters;
  pprof::FiberFilter& filter = parameters.filter;
  absl::Status status = Assign(GetState(query), filter.state);
  if (status.ok()) status = Assign(GetReason(query), filter.reason);
  if (status.ok()) status = Assign(query.GetDuration("minwait"), filter.min_wait);
  if (status.ok()) status = Assign(GetLabels(query), filter.labels);
  if (status.ok()) status = Assign(GetFunction(query), filter.function);
  if (status.ok()) status = Assign(GetTags(query, debug), parameters.tags);
  if (status.ok()) status = Assign(GetPage(query, debug), parameters.page);
  if (!status.ok()) return status;
  return parameters;
}

absl::Status RefuseFiberParameters(const Query& query) {
  for (const char* const name : kNames) {
    const auto values = query.GetAll(name);
    if (!values.ok()) return values.status();
    for (const std::string& value : *values) {
      if (value.empty()) continue;
      return absl::InvalidArgumentError(absl::StrFormat("\"%s\" parameter is not supported for this profile type", name));
    }
  }
  return absl::OkStatus();
}

}  // namespace fiberscope::server
