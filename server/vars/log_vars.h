// What a log counts of itself, for /debug/vars.
#ifndef FIBERSCOPE_SERVER_VARS_LOG_VARS_H_
#define FIBERSCOPE_SERVER_VARS_LOG_VARS_H_

#include "absl/status/status.h"
#include "server/log/log.h"
#include "server/vars/var_registry.h"

namespace fiberscope::server {

// Publishes `log`: its level, and the fields of LogCounts. kAlreadyExists: the name is taken. `log` must outlive the last reader of
// the registry.
absl::Status PublishLogVars(VarRegistry& registry, const log::Log& log);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_VARS_LOG_VARS_H_
