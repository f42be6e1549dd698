#include "pprof/sources/heap_source.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/machinery.h"
#include "pprof/profile_builder.h"

namespace fiberscope::pprof {
namespace {

constexpr std::chrono::seconds kWaitForLines{2};

// Functions between the caller's and ours that took the sample; by their full names, or the beginnings of these.
constexpr std::array<std::string_view, 20> kAllocator = {
    "tcmalloc::", "(anonymous namespace)::do_m", "(anonymous namespace)::DoSampledAllocation", "tc_", "operator new", "malloc",
    "calloc", "realloc", "reallocarray", "memalign", "posix_memalign", "aligned_alloc", "valloc", "pvalloc", "cfree", "__libc_",
    "GetStackTrace(", "fiberscope::CaptureOwnStack", "fiberscope::pprof::(anonymous namespace)::BeginSample", "do_malloc"};

bool IsAllocator(const Symbolized& symbolized) {
  return !symbolized.frames.empty() && std::ranges::any_of(kAllocator, [&](std::string_view name) {
    return symbolized.frames.back().function.starts_with(name);
  });
}

std::string LostText(int64_t lost) { return absl::StrFormat("%d samples are not in this profile", lost); }

}  // namespace

std::span<const uintptr_t> OutsideAllocator(std::span<const uintptr_t> stack, Symbolizer& symbolizer) {
  // The outermost of the allocator's: between its functions there are some without names.
  size_t begin = 0;
  constexpr size_t kMostFrames = 8;
  for (size_t i = 0; i < std::min(stack.size(), kMostFrames); ++i) {
    if (IsAllocator(symbolizer.Lookup(stack[i] - 1))) begin = i + 1;
  }
  return begin < stack.size() ? stack.subspan(begin) : stack;
}

HeapSource::HeapSource(Kind kind, Symbolizer& symbolizer, HeapInputs inputs)
    : kind_(kind), symbolizer_(symbolizer), inputs_(std::move(inputs)) {}

std::string_view HeapSource::name() const { return kind_ == Kind::kHeap ? "heap" : "allocs"; }

std::string_view HeapSource::description() const {
  return kind_ == Kind::kHeap ? "A sampling of memory allocations of live objects. You can specify the gc GET parameter to run GC "
                                "before taking the heap sample."
                              : "A sampling of all past memory allocations";
}

int64_t HeapSource::Count() const { return inputs_.record_count(); }

void HeapSource::CollectGarbage() {
  if (kind_ == Kind::kHeap) inputs_.release_free_memory();
}

absl::StatusOr<Profile> HeapSource::Collect() {
  const auto time = inputs_.now();
  const absl::StatusOr<HeapSnapshot> snapshot = inputs_.read();
  if (!snapshot.ok()) return snapshot.status();
  symbolizer_.WaitForLines(kWaitForLines);
  ProfileBuilder builder(symbolizer_, inputs_.mappings());
  builder.AddSampleType("alloc_objects", "count");
  builder.AddSampleType("alloc_space", "bytes");
  builder.AddSampleType("inuse_objects", "count");
  builder.AddSampleType("inuse_space", "bytes");
  if (kind_ == Kind::kAllocs) builder.SetDefaultSampleType("alloc_space");
  builder.SetPeriod("space", "bytes", snapshot->rate);
  builder.SetTime(time);
  if (snapshot->rate == 0) builder.AddComment("Sampling is off: SetHeapSampleRate().");
  if (snapshot->lost != 0) builder.AddComment(LostText(snapshot->lost));

  for (const Group& group : Groups(*snapshot)) {
    const auto size = static_cast<double>(group.size);
    const int64_t values[] = {std::llround(group.allocated), std::llround(group.allocated * size), std::llround(group.inuse),
                              std::llround(group.inuse * size)};
    const SampleLabel label{.key = "bytes", .number = group.size};
    builder.AddSample(group.stack, values, {&label, 1});
  }
  return std::move(builder).Build();
}

absl::Status HeapSource::WriteText(int /*debug*/, ByteSink& sink) {
  const std::vector<std::pair<std::string, std::string>> stats = inputs_.stats();  // before, as Go does
  const absl::StatusOr<HeapSnapshot> snapshot = inputs_.read();
  if (!snapshot.ok()) return snapshot.status();
  symbolizer_.WaitForLines(kWaitForLines);
  absl::Status status = WriteHeapText(TextGroups(*snapshot), snapshot->rate, stats, symbolizer_, sink);
  if (status.ok() && snapshot->lost != 0) status = sink.Write(absl::StrCat("# ", LostText(snapshot->lost), "\n"));
  return status;
}

absl::Status HeapSource::WriteLegacy(std::string_view maps, ByteSink& sink) {
  const absl::StatusOr<HeapSnapshot> snapshot = inputs_.read();
  if (!snapshot.ok()) return snapshot.status();
  return WriteLegacyHeap(TextGroups(*snapshot), absl::StrCat("heap_v2/", snapshot->rate), maps, sink);
}

std::vector<HeapSource::Group> HeapSource::Groups(const HeapSnapshot& snapshot) const {
  std::vector<Group> groups;
  absl::flat_hash_map<std::pair<std::vector<uintptr_t>, int64_t>, size_t> index;
  for (const HeapRecord& record : snapshot.records) {
    std::vector<uintptr_t> stack = UserStack(OutsideAllocator(record.stack, symbolizer_), 0, symbolizer_);
    const auto [at, added] = index.try_emplace({stack, record.size}, groups.size());
    if (added) groups.push_back({.stack = std::move(stack), .size = record.size});
    Group& group = groups[at->second];
    const int64_t live = record.allocated - record.freed;
    const double scale = AllocationsPerSample(record);
    group.allocated_samples += record.allocated;
    group.inuse_samples += live;
    group.allocated += scale * static_cast<double>(record.allocated);
    group.inuse += scale * static_cast<double>(live);
  }
  return groups;
}

std::vector<HeapTextGroup> HeapSource::TextGroups(const HeapSnapshot& snapshot) const {
  std::vector<HeapTextGroup> texts;
  for (Group& group : Groups(snapshot)) {
    texts.push_back({.stack = std::move(group.stack),
                     .inuse_count = group.inuse_samples,
                     .inuse_bytes = group.inuse_samples * group.size,
                     .allocated_count = group.allocated_samples,
                     .allocated_bytes = group.allocated_samples * group.size});
  }
  return texts;
}

}  // namespace fiberscope::pprof
