#include "runtime/process_pools.h"

#include <map>
#include <mutex>
#include <utility>

namespace fiberscope {
namespace {

using Groups = std::map<std::string, NamedPools>;

struct Pools {
  std::mutex mutex;
  std::vector<const Pool*> alive;  // GUARDED_BY(mutex)
  Groups ended;                    // GUARDED_BY(mutex): what those counted that are gone
};

// Never destroyed: a pool may end after static destructors began.
Pools& ThePools() {
  static Pools& pools = *new Pools;
  return pools;
}

void Add(const PoolMetrics& one, PoolMetrics& sum) {
  static constexpr uint64_t PoolMetrics::*kFigures[] = {
      &PoolMetrics::submitted, &PoolMetrics::completed, &PoolMetrics::cancelled,
      &PoolMetrics::rejected,  &PoolMetrics::active,    &PoolMetrics::queued,
      &PoolMetrics::blocked,   &PoolMetrics::wait_ns_sum, &PoolMetrics::caller_runs,
  };
  for (uint64_t PoolMetrics::*const figure : kFigures) sum.*figure += one.*figure;
  for (size_t i = 0; i < PoolMetrics::kWaitBuckets; ++i) sum.wait_ns_buckets[i] += one.wait_ns_buckets[i];
}

NamedPools& GroupOf(const std::string& name, Groups& groups) {
  const bool is_one_too_many = groups.size() >= kMaxPoolNames && !groups.contains(name);
  NamedPools& group = groups[is_one_too_many ? "(other pools)" : name];
  if (group.name.empty()) group.name = is_one_too_many ? "(other pools)" : name;
  return group;
}

}  // namespace

namespace internal {

void ListPool(const Pool& pool) {
  Pools& all = ThePools();
  const std::lock_guard lock(all.mutex);
  all.alive.push_back(&pool);
}

void UnlistPool(const Pool& pool) {
  Pools& all = ThePools();
  const std::lock_guard lock(all.mutex);
  Add(pool.metrics(), GroupOf(pool.options().name, all.ended).metrics);
  std::erase(all.alive, &pool);
}

}  // namespace internal

std::vector<NamedPools> ReadPools() {
  Pools& all = ThePools();
  Groups groups;
  {
    // Held while they are read: none of them goes away.
    const std::lock_guard lock(all.mutex);
    groups = all.ended;
    for (const Pool* const pool : all.alive) {
      NamedPools& group = GroupOf(pool->options().name, groups);
      ++group.pools;
      group.fibers += pool->options().fibers;
      Add(pool->metrics(), group.metrics);
    }
  }
  std::vector<NamedPools> result;
  for (auto& [name, group] : groups) result.push_back(std::move(group));
  return result;
}

}  // namespace fiberscope
