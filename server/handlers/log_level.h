// /debug/log/level: from which level on lines are logged, to see and to change while the program runs.
//
//   curl http://localhost:6060/debug/log/level                                   {"level":"info"}
//   curl -X PUT -H 'X-Fiberscope-Change: 1' -d '{"level":"debug"}' 'http://localhost:6060/debug/log/level?module=orders'
//
// ?module= names a module (server/log/levels.h); without it the level is the one for all. PUT takes a JSON object or a form
// (level=debug), whatever its Content-Type, and answers with the level that holds then; the level "inherit" takes back what was set
// for a module. Errors are {"error":"..."} with 400. Format: zap's AtomicLevel as an http.Handler; ?module= and inherit are ours.
#ifndef FIBERSCOPE_SERVER_HANDLERS_LOG_LEVEL_H_
#define FIBERSCOPE_SERVER_HANDLERS_LOG_LEVEL_H_

#include "server/http/router.h"
#include "server/log/levels.h"

namespace fiberscope::server {

// For a route that takes PUT. `levels` must outlive the handler.
Handler MakeLogLevelHandler(log::Levels& levels);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_LOG_LEVEL_H_
