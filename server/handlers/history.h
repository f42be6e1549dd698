// GET /debug/history: what the health watch has kept (watch/history_json.h), and its thresholds, as JSON.
//
//   last  seconds, 1 to 31536000: only the rows of so much time before the newest one of their kind
//
// 404, and how to have one, if the program has no watch. Other parameters are ignored.
#ifndef FIBERSCOPE_SERVER_HANDLERS_HISTORY_H_
#define FIBERSCOPE_SERVER_HANDLERS_HISTORY_H_

#include "server/http/router.h"
#include "server/watch/health_watch.h"

namespace fiberscope::server {

// `watch` may be null. It must outlive the handler.
Handler MakeHistoryHandler(const HealthWatch* watch);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_HISTORY_H_
