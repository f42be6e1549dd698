// GET /debug/vars: the variables of the process as JSON. Format: Go 1.27 expvar, Handler. No parameters.
#ifndef FIBERSCOPE_SERVER_HANDLERS_VARS_H_
#define FIBERSCOPE_SERVER_HANDLERS_VARS_H_

#include "server/http/router.h"
#include "server/vars/var_registry.h"

namespace fiberscope::server {

// `vars` must outlive the handler.
Handler MakeVarsHandler(const VarRegistry& vars);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_VARS_H_
