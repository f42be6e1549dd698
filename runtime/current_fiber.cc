#include "runtime/current_fiber.h"

namespace fiberscope::internal {

// Named for the assembly in current_fiber.h.
extern thread_local RunningFiber* t_running asm("fiberscope_running_fiber");
__attribute__((tls_model("initial-exec"))) constinit thread_local RunningFiber* t_running = nullptr;

void SetCurrentRunningFiber(RunningFiber* running) { t_running = running; }

#if !defined(__x86_64__)
RunningFiber* CurrentRunningFiber() { return t_running; }
#endif

}  // namespace fiberscope::internal
