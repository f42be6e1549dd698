#include "pprof/fiber_page.h"

#include <iterator>

namespace fiberscope::pprof {

void FiberPage::Offer(const FiberSnapshot& fiber) {
  if (fiber.id <= options_.after || fiber.id >= end_) return;
  const auto [at, added] = fibers_.try_emplace(fiber.id, fiber);
  if (!added) return;
  bytes_ += at->second.bytes();
  while (fibers_.size() > options_.limit || (bytes_ > options_.max_bytes && fibers_.size() > 1)) DropLast();
}

void FiberPage::DropLast() {
  const auto last = std::prev(fibers_.end());
  end_ = last->first;
  bytes_ -= last->second.bytes();
  fibers_.erase(last);
}

std::optional<FiberId> FiberPage::next_after() const {
  if (end_.value == std::numeric_limits<uint64_t>::max()) return std::nullopt;
  return fibers_.rbegin()->first;
}

void FiberPage::ForEach(absl::FunctionRef<bool(const FiberSnapshot&)> visit) const {
  for (const auto& [id, copy] : fibers_) {
    if (!visit(copy.View())) return;
  }
}

FiberPage::Copy::Copy(const FiberSnapshot& fiber)
    : snapshot(fiber),
      name(fiber.name),
      labels(fiber.labels.begin(), fiber.labels.end()),
      stack(fiber.stack.begin(), fiber.stack.end()) {}

FiberSnapshot FiberPage::Copy::View() const {
  FiberSnapshot view = snapshot;
  view.name = name;
  view.labels = labels;
  view.stack = stack;
  return view;
}

size_t FiberPage::Copy::bytes() const {
  size_t bytes = sizeof(Copy) + name.size() + stack.size() * sizeof(uintptr_t);
  for (const Label& label : labels) bytes += sizeof(Label) + label.key.size() + label.value.size();
  return bytes;
}

}  // namespace fiberscope::pprof
