#include "runtime/io/use_fiber.h"

#include "runtime/scheduler_core.h"
#include "runtime/spawn.h"

namespace fiberscope::internal {

boost::asio::io_context& CurrentReactor() { return CurrentCore().reactor(); }

}  // namespace fiberscope::internal
