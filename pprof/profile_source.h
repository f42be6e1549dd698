// What every profile implements. The server knows profiles only through this.
#ifndef FIBERSCOPE_PPROF_PROFILE_SOURCE_H_
#define FIBERSCOPE_PPROF_PROFILE_SOURCE_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/byte_sink.h"
#include "pprof/profile.h"

namespace fiberscope::pprof {

class FiberProfileSource;

// Thread-safe: several requests may collect at once. Blocks the thread; not to be called on a fiber.
class ProfileSource {
 public:
  virtual ~ProfileSource() = default;

  // "goroutine": the last element of the URL, the file name of a download. No spaces.
  virtual std::string_view name() const = 0;

  // One or two sentences for the index page; plain text.
  virtual std::string_view description() const = 0;

  // How many things the profile would list, for the index page. Cheap.
  virtual int64_t Count() const = 0;

  // debug=0: the profile as a value. The caller encodes it (encode/proto_encoder.h).
  virtual absl::StatusOr<Profile> Collect() = 0;

  // debug=1 and, where the profile has a form of its own for it, debug=2: text, streamed into `sink`. `debug` is >= 1.
  // Returns the sink's error if that failed.
  virtual absl::Status WriteText(int debug, ByteSink& sink) = 0;

  // gc=1: before Collect() or WriteText(), whatever frees memory. Most profiles have nothing to do.
  virtual void CollectGarbage() {}

  // Whether the difference of two Collect() says something: seconds=.
  virtual bool has_delta() const { return false; }

  // This profile, when it is one of fibers of which a request may choose some (fiber_profile_source.h); null otherwise.
  virtual FiberProfileSource* fibers() { return nullptr; }
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_PROFILE_SOURCE_H_
