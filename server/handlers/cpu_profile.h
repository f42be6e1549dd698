// GET /debug/pprof/profile: the CPU profile of the next seconds.
//
//   seconds  1 to 300, 30 by default
//   hz       samples per second of CPU time, 1 to 1000, 100 by default
//
// The head goes out at once, the profile at the end. A client that leaves ends it. While one is being taken, here or by
// StartCpuProfile(), another request gets 429, with Retry-After as far as that is known. HEAD takes none. Other parameters are
// ignored. Format: Go 1.27 net/http/pprof, Profile, but for the 429 (there 500), hz, and the 400 for a parameter that cannot be
// read.
#ifndef FIBERSCOPE_SERVER_HANDLERS_CPU_PROFILE_H_
#define FIBERSCOPE_SERVER_HANDLERS_CPU_PROFILE_H_

#include "pprof/symbolizer.h"
#include "server/http/router.h"

namespace fiberscope::server {

enum class CpuProfileFormat {
  kProto,   // gzip'ed profile.proto, as Go
  kLegacy,  // gperftools' own: /pprof/profile
};

// Of a route that is timed for every request. `symbolizer` must outlive the handler.
Handler MakeCpuProfileHandler(pprof::Symbolizer& symbolizer, CpuProfileFormat format);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_CPU_PROFILE_H_
