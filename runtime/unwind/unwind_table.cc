#include "runtime/unwind/unwind_table.h"

#include <link.h>

#include <atomic>
#include <mutex>
#include <utility>

#include "runtime/unwind/rule_index.h"
#include "runtime/unwind/unwind_table_builder.h"

namespace fiberscope {
namespace {

// How often the dynamic linker has loaded and unloaded an object. Equal counters mean equal objects.
struct LinkerCounters {
  unsigned long long adds = 0;
  unsigned long long subs = 0;
  bool operator==(const LinkerCounters&) const = default;
};

LinkerCounters CountersOf(const dl_phdr_info& object) { return {object.dlpi_adds, object.dlpi_subs}; }

LinkerCounters ReadLinkerCounters() {
  LinkerCounters counters;
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* result) {
        *static_cast<LinkerCounters*>(result) = CountersOf(*object);
        return 1;  // every object reports the same two numbers
      },
      &counters);
  return counters;
}

// The newest table; it leads to all older ones.
constinit std::atomic<const UnwindTable*> g_current{nullptr};
constinit std::mutex g_refresh_mutex;

}  // namespace

struct UnwindTable::Rep {
  std::unique_ptr<const RuleIndex> index;
  LinkerCounters counters;
  Stats stats;
  const UnwindTable* previous = nullptr;  // kept for ever: a signal handler may be reading it

  // The linker holds its lock over the whole iteration, so counters and objects belong together, and no object can be
  // unloaded while its .eh_frame is read.
  static std::unique_ptr<const Rep> OfLoadedObjects(const UnwindTable* previous);
};

std::unique_ptr<const UnwindTable::Rep> UnwindTable::Rep::OfLoadedObjects(const UnwindTable* previous) {
  struct Pass {
    UnwindTableBuilder builder;
    LinkerCounters counters;
  } pass;
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* argument) {
        auto& pass = *static_cast<Pass*>(argument);
        pass.counters = CountersOf(*object);
        pass.builder.AddObject(*object);
        return 0;
      },
      &pass);
  auto rep = std::make_unique<Rep>();
  rep->index = pass.builder.Finish();
  rep->counters = pass.counters;
  rep->previous = previous;
  rep->stats = {.objects = pass.builder.counts().objects,
                .functions = pass.builder.counts().functions,
                .refused = pass.builder.counts().refused,
                .rows = rep->index->row_offsets.size(),
                .rules = rep->index->rules.size(),
                .bytes = rep->index->bytes()};
  return rep;
}

UnwindTable::UnwindTable(std::unique_ptr<const Rep> rep) : rep_(std::move(rep)) {}

UnwindTable::~UnwindTable() = default;

const UnwindTable* UnwindTable::Current() {
  return g_current.load(std::memory_order_acquire);  // Pairs with the release store in Refresh().
}

const UnwindTable& UnwindTable::Refresh() {
  const std::lock_guard lock(g_refresh_mutex);
  const UnwindTable* current = g_current.load(std::memory_order_relaxed);
  if (current != nullptr && current->rep_->counters == ReadLinkerCounters()) return *current;
  current = new UnwindTable(Rep::OfLoadedObjects(current));
  g_current.store(current, std::memory_order_release);  // Pairs with the acquire load in Current().
  return *current;
}

const UnwindRule* UnwindTable::Find(uintptr_t pc) const { return rep_->index->Find(pc); }

UnwindTable::Stats UnwindTable::stats() const { return rep_->stats; }

}  // namespace fiberscope
