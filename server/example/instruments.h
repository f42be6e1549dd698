// Where a service of the demo says what it does, besides what Fiberscope sees by itself.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_INSTRUMENTS_H_
#define FIBERSCOPE_SERVER_EXAMPLE_INSTRUMENTS_H_

#include <prometheus/registry.h>

#include "server/log/log.h"
#include "server/requests/request_registry.h"
#include "server/vars/var_registry.h"

namespace demo {

// All outlive the service.
struct Instruments {
  fiberscope::log::Log& log;
  fiberscope::server::RequestRegistry& requests;
  prometheus::Registry& metrics;
  fiberscope::server::VarRegistry& vars;
};

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_INSTRUMENTS_H_
