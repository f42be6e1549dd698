// Lets the first lines of a second through from each place in the code, and then every so many-th: a loop that logs does not bury
// what others say.
//
// Places are told apart by a hash, as zap does it: two may share a count, and then each gets less through.
//
// Thread-safe. Never blocks. Cost: one CAS, on a line of memory that those who log from the same place share.
#ifndef FIBERSCOPE_SERVER_LOG_SAMPLER_H_
#define FIBERSCOPE_SERVER_LOG_SAMPLER_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <source_location>

namespace fiberscope::log {

struct SamplingOptions {
  uint32_t first = 0;       // so many a second from each place; 0: all, there is no sampling
  uint32_t thereafter = 0;  // and then every so many-th; 0: none
};

class Sampler {
 public:
  explicit Sampler(SamplingOptions options) : options_(options) {}
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  bool Admit(const std::source_location& where, int64_t second);

 private:
  static constexpr size_t kCounts = 4096;  // 32 KiB; a program with 100 busy places shares one with 1 in 40

  const SamplingOptions options_;
  // The second, by its lower 32 bits, and below it how many there were in it.
  std::array<std::atomic<uint64_t>, kCounts> counts_{};
};

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_SAMPLER_H_
