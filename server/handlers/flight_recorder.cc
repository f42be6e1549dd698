#include "server/handlers/flight_recorder.h"

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/trace/trace_frames.h"
#include "server/handlers/trace_output.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr char kNone[] =
    "There is no flight recorder. Make one (fiberscope::FlightRecorder::Start, runtime/flight_recorder.h) and give it to the debug "
    "server (DebugServerOptions::flight_recorder); the demo does with --flight_recorder. It traces all the time.";

absl::StatusOr<TraceOutput> ParseOutput(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  return ParseTraceOutput(*query);
}

}  // namespace

Handler MakeFlightRecorderHandler(FlightRecorder* recorder, pprof::Symbolizer& symbolizer) {
  return [recorder, &symbolizer](const Request& request, ResponseWriter& writer) {
    if (recorder == nullptr) return writer.Send(ErrorResponse(404, kNone));
    const absl::StatusOr<TraceOutput> output = ParseOutput(request);
    if (!output.ok()) return writer.Send(ErrorResponse(400, output.status()));
    writer.Begin(TraceHead(*output));
    absl::Status status;
    if (request.method != Method::kHead) {
      const std::unique_ptr<pprof::TraceFrames> frames = pprof::MakeTraceFrames(symbolizer);
      status = WriteTrace(recorder->Snapshot(), *output, *frames, writer);
    }
    if (status.ok()) {
      (void)writer.Finish();
    } else {
      writer.Fail(status);
    }
  };
}

}  // namespace fiberscope::server
