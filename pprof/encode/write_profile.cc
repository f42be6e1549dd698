#include "pprof/encode/write_profile.h"

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/proto_encoder.h"

namespace fiberscope::pprof {

absl::Status WriteProfile(ProfileSource& source, int debug, ByteSink& sink) {
  if (debug < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("write profile %s: debug is %d, must be 0 (binary), 1 or more (text)", std::string(source.name()), debug));
  }
  if (debug > 0) return source.WriteText(debug, sink);
  const absl::StatusOr<Profile> profile = source.Collect();
  return profile.ok() ? EncodeProfile(*profile, sink) : profile.status();
}

}  // namespace fiberscope::pprof
