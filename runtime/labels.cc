#include "runtime/labels.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "runtime/base/fence.h"

namespace fiberscope {
namespace internal {

struct LabelsRep {
  std::atomic<uint32_t> references{1};
  LabelsRep* next_retired = nullptr;  // GUARDED_BY the retirement mutex
  std::vector<Label> pairs;           // sorted by key; set before the first reader sees the object
};

}  // namespace internal

namespace {

using internal::LabelsRep;

// Process-wide because control blocks are (registry.h), and never destroyed for the same reason.
struct Retirement {
  std::atomic<uint32_t> scopes{0};
  std::mutex mutex;
  LabelsRep* retired = nullptr;  // GUARDED_BY(mutex)
};

Retirement& GetRetirement() {
  static Retirement* const instance = new Retirement;
  return *instance;
}

void FreeList(LabelsRep* rep) {
  while (rep != nullptr) delete std::exchange(rep, rep->next_retired);
}

std::vector<Label> Overlay(std::span<const Label> base,
                           std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
  std::vector<Label> result(base.begin(), base.end());
  for (const auto& [key, value] : pairs) {
    auto at = std::lower_bound(result.begin(), result.end(), key,
                               [](const Label& label, std::string_view k) { return label.key < k; });
    if (at != result.end() && at->key == key) {
      at->value = value;
    } else {
      result.insert(at, Label{std::string(key), std::string(value)});
    }
  }
  return result;
}

LabelsRep* NewRep(std::vector<Label> pairs) {
  if (pairs.empty()) return nullptr;
  auto* rep = new LabelsRep;
  rep->pairs = std::move(pairs);
  return rep;
}

}  // namespace

Labels::Labels(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs)
    : rep_(NewRep(Overlay({}, pairs))) {}

Labels::Labels(const Labels& other) : rep_(other.rep_) {
  if (rep_ != nullptr) rep_->references.fetch_add(1, std::memory_order_relaxed);
}

void Labels::Drop(LabelsRep* rep) {
  // acq_rel: the last owner must see every other owner's use of the pairs before it frees them.
  if (rep->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  Retirement& retirement = GetRetirement();
  SeqCstFence();  // pairs with the fence in LabelsReadScope(): see the header
  // Acquire pairs with the release in ~LabelsReadScope(): the reads of scopes that have ended come before the delete.
  if (retirement.scopes.load(std::memory_order_acquire) == 0) {
    delete rep;
    return;
  }
  std::lock_guard lock(retirement.mutex);
  rep->next_retired = retirement.retired;
  retirement.retired = rep;
}

Labels Labels::With(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) const {
  return Adopt(NewRep(Overlay(this->pairs(), pairs)));
}

std::span<const Label> Labels::pairs() const { return PairsOf(rep_); }

std::string_view Labels::Get(std::string_view key) const {
  for (const Label& label : pairs()) {
    if (label.key == key) return label.value;
  }
  return {};
}

bool Labels::operator==(const Labels& other) const {
  return rep_ == other.rep_ || std::ranges::equal(pairs(), other.pairs());
}

LabelsRep* Labels::AddReference(LabelsRep* rep) {
  if (rep != nullptr) rep->references.fetch_add(1, std::memory_order_relaxed);
  return rep;
}

Labels Labels::Share(LabelsRep* rep) { return Adopt(AddReference(rep)); }

std::span<const Label> Labels::PairsOf(const LabelsRep* rep) {
  if (rep == nullptr) return {};
  return rep->pairs;
}

LabelsReadScope::LabelsReadScope() {
  GetRetirement().scopes.fetch_add(1, std::memory_order_relaxed);
  SeqCstFence();  // pairs with the fence in Labels::Drop()
}

LabelsReadScope::~LabelsReadScope() {
  Retirement& retirement = GetRetirement();
  LabelsRep* dead = nullptr;
  {
    // Both under the mutex: a scope that starts now cannot meet what is on the list (its owners took the pointers out
    // before they put it there), so only scopes that are still open count.
    std::lock_guard lock(retirement.mutex);
    // acq_rel: the deletes below must come after every read of the other scopes that have ended.
    if (retirement.scopes.fetch_sub(1, std::memory_order_acq_rel) == 1) dead = std::exchange(retirement.retired, nullptr);
  }
  FreeList(dead);
}

}  // namespace fiberscope
