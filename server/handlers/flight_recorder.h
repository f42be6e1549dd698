// GET /debug/pprof/flightrecorder: the execution trace of what has happened last, as the flight recorder has kept it.
//
//   format, profile  trace_output.h
//
// 404, and how to have one, if the program has none. HEAD takes no snapshot. Other parameters are ignored.
// After Go 1.25's runtime/trace.FlightRecorder, which has no endpoint.
#ifndef FIBERSCOPE_SERVER_HANDLERS_FLIGHT_RECORDER_H_
#define FIBERSCOPE_SERVER_HANDLERS_FLIGHT_RECORDER_H_

#include "pprof/symbolizer.h"
#include "runtime/flight_recorder.h"
#include "server/http/router.h"

namespace fiberscope::server {

// `recorder` may be null. Both must outlive the handler.
Handler MakeFlightRecorderHandler(FlightRecorder* recorder, pprof::Symbolizer& symbolizer);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_FLIGHT_RECORDER_H_
