#include "runtime/trace/complete_generation.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

namespace fiberscope::internal {
namespace {

// The events of a batch, one by one.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool Next() {
    if (rest_.empty()) return false;
    type_ = static_cast<TraceEvent>(rest_.front());
    rest_.remove_prefix(1);
    (void)TakeVarint();  // time
    for (size_t i = 0; i < TraceArguments(type_); ++i) arguments_[i] = TakeVarint();
    return true;
  }

  TraceEvent type() const { return type_; }
  uint64_t argument(size_t i) const { return arguments_[i]; }

 private:
  uint64_t TakeVarint() {
    uint64_t value = 0;
    for (int shift = 0; !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    return value;
  }

  std::string_view rest_;
  TraceEvent type_{};
  std::array<uint64_t, 4> arguments_{};
};

class Completion {
 public:
  explicit Completion(const TraceGeneration& first) : made_(std::make_shared<TraceGeneration>(first)) {
    for (const TraceStatus& each : first.statuses) known_.insert(each.fiber);
    for (const TraceStack& each : first.stacks) next_stack_ = std::max(next_stack_, each.number + 1);
  }

  // `is_first`: what it names is named already.
  void Hear(const TraceGeneration& generation, bool is_first) {
    for (const TraceBatch& batch : generation.batches) {
      uint64_t processor = SilentThread::kNoProcessor;  // that the thread says it has
      for (Reader at(batch.data); at.Next();) {
        switch (at.type()) {
          case TraceEvent::kProcessorStatus: processor = at.argument(0); break;
          case TraceEvent::kFiberCreate:
          case TraceEvent::kFiberCreateBlocking: known_.insert(at.argument(0)); break;
          case TraceEvent::kFiberStatus:
            if (!known_.insert(at.argument(0)).second || is_first) break;
            AddStatus(at.argument(0), static_cast<TraceFiberStatus>(at.argument(2)), at.argument(1), processor);
            break;
          default: break;
        }
      }
    }
  }

  void Hear(const Silence& silence) {
    for (const SilentThread& each : silence.threads) {
      if (!known_.insert(each.fiber).second) continue;
      AddStatus(each.fiber, each.blocking ? TraceFiberStatus::kBlocking : TraceFiberStatus::kRunning, each.thread, each.processor);
    }
    for (const SilentFiber& each : silence.fibers) {
      if (!known_.insert(each.fiber).second) continue;
      made_->statuses.push_back({.fiber = each.fiber, .status = each.status, .stack = EntryStack(each.entry_pc)});
    }
  }

  std::shared_ptr<const TraceGeneration> Take() { return std::move(made_); }

 private:
  void AddStatus(uint64_t fiber, TraceFiberStatus status, uint64_t thread, uint64_t processor) {
    if (status == TraceFiberStatus::kRunning) {
      made_->batches.push_back(MakeRunningBatch({.thread = thread, .fiber = fiber, .processor = processor}, made_->start));
    } else {
      made_->statuses.push_back({.fiber = fiber, .status = status, .thread = thread});
    }
  }

  uint64_t EntryStack(uintptr_t entry_pc) {
    if (entry_pc == 0) return 0;
    const auto [at, is_new] = entries_.try_emplace(entry_pc, next_stack_);
    if (is_new) made_->stacks.push_back({.number = next_stack_++, .pcs = {entry_pc + 1}});
    return at->second;
  }

  std::shared_ptr<TraceGeneration> made_;
  absl::flat_hash_set<uint64_t> known_;
  absl::flat_hash_map<uintptr_t, uint64_t> entries_;
  uint64_t next_stack_ = 1;
};

}  // namespace

std::shared_ptr<const TraceGeneration> CompleteGeneration(const TraceGenerations& generations, const Silence& silence) {
  Completion completion(*generations.front());
  for (const auto& each : generations) completion.Hear(*each, /*is_first=*/each == generations.front());
  completion.Hear(silence);
  return completion.Take();
}

}  // namespace fiberscope::internal
