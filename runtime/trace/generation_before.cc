#include "runtime/trace/generation_before.h"

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

class Beginning {
 public:
  explicit Beginning(const TraceGeneration& first) : made_(std::make_shared<TraceGeneration>()) {
    made_->number = first.number - 1;
    made_->start = first.start - 1;
    made_->ticks_per_second = first.ticks_per_second;
  }

  void Hear(const TraceGeneration& generation) {
    for (const TraceBatch& batch : generation.batches) {
      Told told{.thread = batch.thread};
      for (Reader at(batch.data); at.Next();) Hear(at, told);
    }
  }

  void Hear(const Silence& silence) {
    for (SilentThread each : silence.threads) {
      if (!known_.insert(each.fiber).second) continue;
      // Lost meanwhile, if they speak of it.
      if (each.blocking && processors_.contains(each.processor)) each.processor = SilentThread::kNoProcessor;
      threads_.push_back(each);
    }
    for (const SilentFiber& each : silence.fibers) {
      if (!known_.insert(each.fiber).second) continue;
      made_->statuses.push_back({.fiber = each.fiber, .status = each.status, .stack = EntryStack(each.entry_pc)});
    }
  }

  std::shared_ptr<const TraceGeneration> Take() {
    for (const SilentThread& each : threads_) AddThread(each);
    return std::move(made_);
  }

 private:
  // By a thread so far.
  struct Told {
    uint64_t thread = 0;
    uint64_t processor = SilentThread::kNoProcessor;  // that it has
    uint64_t abandoned = SilentThread::kNoProcessor;  // that it is about to steal, and of which nothing was heard before
  };

  void Hear(const Reader& at, Told& told) {
    switch (at.type()) {
      case TraceEvent::kProcessorStatus: return HearProcessor(at, told);
      case TraceEvent::kProcessorSteal:
        if (told.abandoned == at.argument(0)) kept_.try_emplace(at.argument(2), told.abandoned);
        return;
      case TraceEvent::kFiberCreate:
      case TraceEvent::kFiberCreateBlocking: known_.insert(at.argument(0)); return;
      case TraceEvent::kFiberStatus: return HearFiber(at, told);
      default: return;
    }
  }

  // One that is in a blocking call when it is named first was in it from the beginning.
  void HearProcessor(const Reader& at, Told& told) {
    constexpr auto kBlocking = static_cast<uint64_t>(TraceProcessorStatus::kBlocking);
    told.processor = at.argument(0);
    if (!processors_.insert(told.processor).second) return;
    if (at.argument(1) == kBlocking) kept_.try_emplace(told.thread, told.processor);
    if (at.argument(1) == kAbandonedTraceProcessor) told.abandoned = told.processor;
  }

  void HearFiber(const Reader& at, const Told& told) {
    const uint64_t fiber = at.argument(0);
    if (!known_.insert(fiber).second) return;
    const auto status = static_cast<TraceFiberStatus>(at.argument(2));
    if (status == TraceFiberStatus::kRunning) {
      threads_.push_back({.thread = told.thread, .fiber = fiber, .processor = told.processor});
    } else if (status == TraceFiberStatus::kBlocking) {
      threads_.push_back({.thread = at.argument(1), .fiber = fiber, .blocking = true});
    } else {
      made_->statuses.push_back({.fiber = fiber, .status = status});
    }
  }

  void AddThread(SilentThread each) {
    if (const auto kept = kept_.find(each.thread); each.blocking && kept != kept_.end()) each.processor = kept->second;
    if (each.processor != SilentThread::kNoProcessor) {
      made_->batches.push_back(MakeRunningBatch(each, made_->start));
    } else {
      made_->statuses.push_back({.fiber = each.fiber, .status = TraceFiberStatus::kBlocking, .thread = each.thread});
    }
  }

  uint64_t EntryStack(uintptr_t entry_pc) {
    if (entry_pc == 0) return 0;
    const auto [at, is_new] = entries_.try_emplace(entry_pc, entries_.size() + 1);
    if (is_new) made_->stacks.push_back({.number = at->second, .pcs = {entry_pc + 1}});
    return at->second;
  }

  std::shared_ptr<TraceGeneration> made_;
  absl::flat_hash_set<uint64_t> known_;           // fibers
  absl::flat_hash_set<uint64_t> processors_;      // that were heard of
  absl::flat_hash_map<uint64_t, uint64_t> kept_;  // thread to the processor that it had in a blocking call from the beginning
  std::vector<SilentThread> threads_;
  absl::flat_hash_map<uintptr_t, uint64_t> entries_;
};

}  // namespace

std::shared_ptr<const TraceGeneration> GenerationBefore(const TraceGenerations& generations, const Silence& silence) {
  Beginning beginning(*generations.front());
  for (const auto& each : generations) beginning.Hear(*each);
  beginning.Hear(silence);
  return beginning.Take();
}

}  // namespace fiberscope::internal
