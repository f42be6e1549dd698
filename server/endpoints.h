// The table of everything that the debug server answers besides the profiles of its catalog.
#ifndef FIBERSCOPE_SERVER_ENDPOINTS_H_
#define FIBERSCOPE_SERVER_ENDPOINTS_H_

#include <string>
#include <vector>

#include "pprof/symbolizer.h"
#include "runtime/flight_recorder.h"
#include "server/http/router.h"

namespace fiberscope::server {

inline constexpr char kPprofPrefix[] = "/debug/pprof/";

struct Endpoint {
  // What the index page lists below kPprofPrefix; empty: not listed.
  std::string name = {};
  std::string description = {};  // Go's, where Go has one
  Route route = {};
};

// Both must outlive the routes; `recorder` may be null.
std::vector<Endpoint> MakeEndpoints(pprof::Symbolizer& symbolizer, FlightRecorder* recorder);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_ENDPOINTS_H_
