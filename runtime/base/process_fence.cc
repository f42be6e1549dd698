#include "runtime/base/process_fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace fiberscope {
namespace {

bool Membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

bool CanFenceAllThreads() {
  static const bool can = Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
  return can;
}

bool FenceAllThreads() { return Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED); }

}  // namespace fiberscope
