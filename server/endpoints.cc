#include "server/endpoints.h"

#include <utility>

#include "pprof/sources/contention.h"
#include "pprof/sources/heap.h"
#include "server/handlers/cmdline.h"
#include "server/handlers/cpu_profile.h"
#include "server/handlers/flight_recorder.h"
#include "server/handlers/gperftools.h"
#include "server/handlers/symbol.h"
#include "server/handlers/trace.h"
#include "server/handlers/wall_profile.h"

namespace fiberscope::server {
namespace {

bool Always(const Request&) { return true; }

void Welcome(const Request&, ResponseWriter& writer) {
  writer.Send({.head = {}, .body = "This is a debug server. See /debug/pprof/\n"});
}

Endpoint Listed(std::string name, std::string description, Route route) {
  route.path = kPprofPrefix + name;
  return {std::move(name), std::move(description), std::move(route)};
}

}  // namespace

std::vector<Endpoint> MakeEndpoints(pprof::Symbolizer& symbolizer, FlightRecorder* recorder) {
  const auto legacy_heap = [&symbolizer](pprof::ByteSink& sink) { return pprof::WriteLegacyHeapProfile(symbolizer, sink); };
  const auto legacy_mutex = [&symbolizer](pprof::ByteSink& sink) { return pprof::WriteLegacyMutexProfile(symbolizer, sink); };
  return {
      {.route = {.path = "/", .exact = true, .handler = &Welcome}},
      Listed("cmdline", "The command line invocation of the current program", {.handler = MakeCmdlineHandler()}),
      Listed("profile",
             "CPU profile. You can specify the duration in the seconds GET parameter. After you get the profile file, use the go "
             "tool pprof command to investigate the profile.",
             {.slow = true, .timed = &Always, .handler = MakeCpuProfileHandler(symbolizer, CpuProfileFormat::kProto)}),
      Listed("symbol",
             "Maps given program counters to function names. Counters can be specified in a GET raw query or POST body, multiple "
             "counters are separated by '+'.",
             {.post = true, .slow = true, .handler = MakeSymbolHandler(symbolizer)}),
      Listed("trace",
             "A trace of execution of the current program. You can specify the duration in the seconds GET parameter. After you "
             "get the trace file, use the go tool trace command to investigate the trace.",
             {.slow = true, .timed = &Always, .handler = MakeTraceHandler(symbolizer)}),
      Listed("flightrecorder",
             "The trace of execution of the last seconds, if the program has a flight recorder. Use the go tool trace command.",
             {.slow = true, .handler = MakeFlightRecorderHandler(recorder, symbolizer)}),
      Listed("wall",
             "Wall-clock profile: where all goroutines spend the time, running or waiting. You can specify the duration in the "
             "seconds GET parameter; format=folded is for flame graphs.",
             {.slow = true, .timed = &Always, .handler = MakeWallProfileHandler(symbolizer)}),
      // Where users of github.com/felixge/fgprof look for it.
      {.route = {.path = "/debug/fgprof", .slow = true, .timed = &Always, .handler = MakeWallProfileHandler(symbolizer)}},
      // What gperftools' pprof asks for.
      {.route = {.path = "/pprof/cmdline", .handler = MakeCmdlineHandler()}},
      {.route = {.path = "/pprof/contention", .slow = true, .handler = MakeLegacyTextHandler(legacy_mutex)}},
      {.route = {.path = "/pprof/growth", .slow = true, .handler = MakeLegacyTextHandler(&pprof::WriteLegacyGrowthProfile)}},
      {.route = {.path = "/pprof/heap", .slow = true, .handler = MakeLegacyTextHandler(legacy_heap)}},
      {.route = {.path = "/pprof/profile",
                 .slow = true,
                 .timed = &Always,
                 .handler = MakeCpuProfileHandler(symbolizer, CpuProfileFormat::kLegacy)}},
      {.route = {.path = "/pprof/symbol", .post = true, .slow = true, .handler = MakeSymbolHandler(symbolizer)}},
  };
}

}  // namespace fiberscope::server
