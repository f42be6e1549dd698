// GET /metrics: the metrics of the process for Prometheus, in the text format 0.0.4 whatever the client would rather have. No
// parameters.
#ifndef FIBERSCOPE_SERVER_HANDLERS_METRICS_H_
#define FIBERSCOPE_SERVER_HANDLERS_METRICS_H_

#include "server/http/router.h"
#include "server/metrics/metrics_page.h"

namespace fiberscope::server {

// `page` must outlive the handler.
Handler MakeMetricsHandler(const MetricsPage& page);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_METRICS_H_
