#include "server/handlers/metrics.h"

#include <utility>

namespace fiberscope::server {

Handler MakeMetricsHandler(const MetricsPage& page) {
  return [&page](const Request&, ResponseWriter& writer) {
    Response response;
    response.head.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = page.Render();
    writer.Send(std::move(response));
  };
}

}  // namespace fiberscope::server
