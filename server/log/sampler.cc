#include "server/log/sampler.h"

namespace fiberscope::log {
namespace {

// The name of a file is one constant, so its address stands for it.
size_t Hash(const std::source_location& where) {
  constexpr uint64_t kOdd = 0x9e37'79b9'7f4a'7c15;  // 2^64 by the golden ratio: spreads the low bits over the high ones
  const auto file = reinterpret_cast<uint64_t>(where.file_name());
  return static_cast<size_t>(((file ^ (uint64_t{where.line()} << 20 | where.column())) * kOdd) >> 32);
}

}  // namespace

bool Sampler::Admit(const std::source_location& where, int64_t second) {
  if (options_.first == 0) return true;
  std::atomic<uint64_t>& count = counts_[Hash(where) % kCounts];
  const auto now = static_cast<uint32_t>(second);
  uint64_t before = count.load(std::memory_order_relaxed);
  uint64_t after;
  do {
    after = static_cast<uint32_t>(before >> 32) == now ? before + 1 : uint64_t{now} << 32 | 1;
  } while (!count.compare_exchange_weak(before, after, std::memory_order_relaxed));
  const auto nth = static_cast<uint32_t>(after);
  if (nth <= options_.first) return true;
  return options_.thereafter != 0 && (nth - options_.first) % options_.thereafter == 0;
}

}  // namespace fiberscope::log
