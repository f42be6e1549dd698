// The figures of all pools of the process, by name, for whoever has none of them at hand.
#ifndef FIBERSCOPE_RUNTIME_PROCESS_POOLS_H_
#define FIBERSCOPE_RUNTIME_PROCESS_POOLS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/pool.h"

namespace fiberscope {

// Of all pools of one name (PoolOptions::name) together.
struct NamedPools {
  std::string name;
  uint64_t pools = 0;   // that are alive
  uint64_t fibers = 0;  // that these may have at most
  PoolMetrics metrics;  // sums; what pools that are gone have counted stays
};

// At most so many names are told apart, in the order in which they are met; pools of others are one group, "(other pools)". So a
// name per request does no harm.
inline constexpr size_t kMaxPoolNames = 32;

// Sorted by name. Thread-safe. Blocks the thread for a few instructions per pool, and those that make or destroy pools meanwhile.
std::vector<NamedPools> ReadPools();

namespace internal {

// Once each, by the pool: when it is made, and when all it had is done.
void ListPool(const Pool& pool);
void UnlistPool(const Pool& pool);

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_PROCESS_POOLS_H_
