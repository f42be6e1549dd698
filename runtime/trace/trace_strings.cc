#include "runtime/trace/trace_strings.h"

#include <array>
#include <atomic>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace fiberscope::internal {
namespace {

constexpr size_t kMaxBytes = 8 << 20;

// Of the odd or the even generations. Two are in use at a time at most: the one that is written, and the one that is being cut.
struct Table {
  std::mutex mutex;
  absl::flat_hash_map<std::string, uint64_t> numbers;  // GUARDED_BY(mutex)
  size_t bytes = 0;                                    // GUARDED_BY(mutex)
};

Table& TableOf(uint32_t generation) {
  static std::array<Table, 2>& tables = *new std::array<Table, 2>;  // threads may record until the very end
  return tables[generation % 2];
}

constinit std::atomic<uint64_t> g_lost{0};

// Not in the middle of a character: continuation bytes are 10xxxxxx.
std::string_view Cut(std::string_view text) {
  if (text.size() <= kMaxTraceStringBytes) return text;
  size_t end = kMaxTraceStringBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

uint64_t TraceStringNumber(uint32_t generation, std::string_view whole) {
  const std::string_view text = Cut(whole);
  if (text.empty()) return 0;
  Table& table = TableOf(generation);
  const std::lock_guard lock(table.mutex);
  const absl::string_view key(text.data(), text.size());
  if (const auto known = table.numbers.find(key); known != table.numbers.end()) return known->second;
  if (table.bytes + text.size() > kMaxBytes) {
    g_lost.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }
  table.bytes += text.size();
  const uint64_t number = kFirstTraceString + table.numbers.size();
  table.numbers.emplace(std::string(text), number);
  return number;
}

std::vector<TraceString> TakeTraceStrings(uint32_t generation) {
  Table& table = TableOf(generation);
  std::vector<TraceString> taken;
  const std::lock_guard lock(table.mutex);
  taken.reserve(table.numbers.size());
  for (const auto& [text, number] : table.numbers) taken.push_back({number, text});
  table.numbers.clear();
  table.bytes = 0;
  return taken;
}

uint64_t LostTraceStrings() { return g_lost.load(std::memory_order_relaxed); }

}  // namespace fiberscope::internal
