#include "server/handlers/trace_output.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/trace/go119_encoder.h"
#include "pprof/trace/perfetto.h"
#include "pprof/trace/trace_timeline.h"

namespace fiberscope::server {
namespace {

struct NamedOutput {
  std::string_view name;
  TraceOutput output;
};

using enum TraceOutputKind;

constexpr std::array kFormats = {
    NamedOutput{"go1.22", {}},
    NamedOutput{"go1.23", {.format = pprof::TraceFormat::kGo123}},
    NamedOutput{"go1.19", {.kind = kGo119}},
    NamedOutput{"json", {.kind = kJson, .file_name = "trace.json"}},
    NamedOutput{"perfetto", {.kind = kJson, .file_name = "trace.json"}},
};

constexpr std::array kProfiles = {
    NamedOutput{"sched", {.kind = kProfile, .profile = pprof::TraceProfileKind::kSched, .file_name = "sched"}},
    NamedOutput{"sync", {.kind = kProfile, .profile = pprof::TraceProfileKind::kSync, .file_name = "sync"}},
    NamedOutput{"net", {.kind = kProfile, .profile = pprof::TraceProfileKind::kNet, .file_name = "net"}},
    NamedOutput{"syscall", {.kind = kProfile, .profile = pprof::TraceProfileKind::kSyscall, .file_name = "syscall"}},
};

// The one of that name, if the parameter is there.
absl::StatusOr<std::optional<TraceOutput>> Parse(const Query& query, std::string_view parameter, std::span<const NamedOutput> known,
                                                 std::string_view wanted) {
  const absl::StatusOr<std::optional<std::string>> name = query.Get(parameter);
  if (!name.ok()) return name.status();
  if (name->value_or("").empty()) return std::nullopt;
  const auto at = std::ranges::find(known, **name, &NamedOutput::name);
  if (at == known.end()) return BadParameter(parameter, wanted);
  return at->output;
}

}  // namespace

absl::StatusOr<TraceOutput> ParseTraceOutput(const Query& query) {
  const auto format = Parse(query, "format", kFormats, "must be go1.22, go1.23, go1.19 or json");
  if (!format.ok()) return format.status();
  const auto profile = Parse(query, "profile", kProfiles, "must be sched, sync, net or syscall");
  if (!profile.ok()) return profile.status();
  if (format->has_value() && profile->has_value()) return BadParameter("profile", "cannot be had together with a format");
  return profile->value_or(format->value_or(TraceOutput()));
}

ResponseHead TraceHead(const TraceOutput& output) {
  const absl::string_view name(output.file_name.data(), output.file_name.size());
  return {.content_type = output.kind == kJson ? "application/json" : "application/octet-stream",
          .fields = {{"Content-Disposition", absl::StrCat("attachment; filename=\"", name, "\"")}}};
}

absl::Status WriteTrace(const TraceGenerations& generations, const TraceOutput& output, pprof::TraceFrames& frames,
                        pprof::ByteSink& sink) {
  if (output.kind == kGo122) return pprof::WriteGo122Trace(generations, output.format, frames, sink);
  const absl::StatusOr<pprof::TraceTimeline> timeline = pprof::TraceTimeline::Make(generations);
  if (!timeline.ok()) return absl::InternalError(timeline.status().message());
  switch (output.kind) {
    case kGo119: return pprof::WriteGo119Trace(*timeline, frames, sink);
    case kJson: return pprof::WritePerfettoTrace(*timeline, frames, sink);
    case kGo122:
    case kProfile: return pprof::EncodeProfile(MakeTraceProfile(*timeline, output.profile, frames), sink);
  }
  return absl::OkStatus();
}

}  // namespace fiberscope::server
