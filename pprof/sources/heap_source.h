// A heap profile over any record of samples; heap.h binds it to tcmalloc's.
#ifndef FIBERSCOPE_PPROF_SOURCES_HEAP_SOURCE_H_
#define FIBERSCOPE_PPROF_SOURCES_HEAP_SOURCE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pprof/encode/heap_text.h"
#include "pprof/gperftools/heap_samples.h"
#include "pprof/mappings.h"
#include "pprof/profile_source.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// Where a HeapSource gets what it shows. All are called from several threads at once.
struct HeapInputs {
  std::function<absl::StatusOr<HeapSnapshot>()> read;
  std::function<int64_t()> record_count;
  std::function<std::vector<std::pair<std::string, std::string>>()> stats;  // for the text
  std::function<void()> release_free_memory;
  std::function<std::vector<Mapping>()> mappings;
  std::function<std::chrono::sys_time<std::chrono::nanoseconds>()> now;
};

// A group for each stack and size. The allocator's own frames at the leaf end are left out, and those below a fiber's own function.
//
// debug=0: each sample stands for 1 / (1 - exp(-taken / rate)) allocations, the inverse of the probability that one of `taken`
// bytes is sampled; as in Go, but for each at the rate it was taken at. The label "bytes" is the size of one. debug=1: samples as
// they were counted. Order of groups: as they appeared.
//
// Every form waits up to 2 s, once, for file names and lines.
class HeapSource : public ProfileSource {
 public:
  enum class Kind { kHeap, kAllocs };

  // `symbolizer` must outlive the source.
  HeapSource(Kind kind, Symbolizer& symbolizer, HeapInputs inputs);

  std::string_view name() const override;
  std::string_view description() const override;
  int64_t Count() const override;
  bool has_delta() const override { return true; }
  void CollectGarbage() override;
  absl::StatusOr<Profile> Collect() override;
  absl::Status WriteText(int debug, ByteSink& sink) override;

  // For gperftools' pprof. `maps`: /proc/self/maps.
  absl::Status WriteLegacy(std::string_view maps, ByteSink& sink);

 private:
  // What has the same stack and size.
  struct Group {
    std::vector<uintptr_t> stack;  // as it is shown
    int64_t size = 0;
    int64_t allocated_samples = 0;
    int64_t inuse_samples = 0;
    double allocated = 0;  // objects that the samples stand for
    double inuse = 0;
  };
  std::vector<Group> Groups(const HeapSnapshot& snapshot) const;
  std::vector<HeapTextGroup> TextGroups(const HeapSnapshot& snapshot) const;

  const Kind kind_;
  Symbolizer& symbolizer_;
  const HeapInputs inputs_;
};

// The part of `stack` that is the caller's of the allocator; all of it if there is no other.
std::span<const uintptr_t> OutsideAllocator(std::span<const uintptr_t> stack, Symbolizer& symbolizer);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_HEAP_SOURCE_H_
