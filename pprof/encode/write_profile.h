// A profile in the form asked for, without a server. Go: (*Profile).WriteTo.
//
//   pprof::WriteProfile(*pprof::ProcessProfiles().Find("example.com/store.open_files"), 1, sink)
#ifndef FIBERSCOPE_PPROF_ENCODE_WRITE_PROFILE_H_
#define FIBERSCOPE_PPROF_ENCODE_WRITE_PROFILE_H_

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/profile_source.h"

namespace fiberscope::pprof {

// debug 0: what `go tool pprof` reads, gzip-compressed (proto_encoder.h). 1 and more: text (ProfileSource::WriteText).
// kInvalidArgument: `debug` is negative. Otherwise the source's error or the sink's. Thread-safe. Blocks the thread; not to be
// called on a fiber.
absl::Status WriteProfile(ProfileSource& source, int debug, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_WRITE_PROFILE_H_
