#include "server/handlers/gperftools.h"

#include <utility>

namespace fiberscope::server {

Handler MakeLegacyTextHandler(std::function<absl::Status(pprof::ByteSink&)> write) {
  return [write = std::move(write)](const Request& request, ResponseWriter& writer) {
    writer.Begin({});
    const absl::Status status = request.method == Method::kHead ? absl::OkStatus() : write(writer);
    if (status.ok()) {
      (void)writer.Finish();
    } else {
      writer.Fail(status);
    }
  };
}

}  // namespace fiberscope::server
