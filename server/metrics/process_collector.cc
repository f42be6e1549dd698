#include "server/metrics/process_collector.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/metrics/family_list.h"
#include "server/metrics/process_memory.h"

namespace fiberscope::server {
namespace {

// "" if it cannot be read.
std::string ReadFile(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<absl::string_view> Words(std::string_view text) {
  return absl::StrSplit(absl::string_view(text.data(), text.size()), absl::ByAnyChar(" \n"), absl::SkipEmpty());
}

std::optional<uint64_t> NumberAt(const std::vector<absl::string_view>& words, size_t index) {
  uint64_t value = 0;
  if (index >= words.size() || !absl::SimpleAtoi(words[index], &value)) return std::nullopt;
  return value;
}

std::optional<uint64_t> CountOpenDescriptors() {
  constexpr char kPath[] = "/proc/self/fd";
  // Since Linux 6.2 the size is the number.
  struct stat status = {};
  if (stat(kPath, &status) == 0 && status.st_size > 0) return static_cast<uint64_t>(status.st_size);
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(kPath), &closedir);
  if (directory == nullptr) return std::nullopt;
  uint64_t count = 0;
  while (const dirent* const entry = readdir(directory.get())) count += entry->d_name[0] != '.' ? 1 : 0;
  return count - 1;  // the listing's own
}

void AddLimit(const char* name, const char* help, int resource, FamilyList& list) {
  rlimit limit = {};
  if (getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return;
  const double infinity = std::numeric_limits<double>::infinity();
  list.Gauge(name, help, limit.rlim_cur == RLIM_INFINITY ? infinity : static_cast<double>(limit.rlim_cur));
}

void AddCpu(FamilyList& list) {
  timespec time = {};
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) != 0) return;
  list.Counter("process_cpu_seconds_total", "CPU time of all threads, in user mode and in the kernel.",
               static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9);
}

void AddMemory(FamilyList& list) {
  const std::optional<ProcessMemory> memory = ReadProcessMemory();
  if (!memory) return;
  list.Gauge("process_virtual_memory_bytes", "Address space in use, reserved stacks included.",
             static_cast<double>(memory->virtual_bytes));
  list.Gauge("process_resident_memory_bytes", "Memory in use.", static_cast<double>(memory->resident_bytes));
}

void AddStart(FamilyList& list) {
  const std::optional<uint64_t> ticks = StartTicks(ReadFile("/proc/self/stat"));
  const std::string text = ReadFile("/proc/stat");
  const std::vector<absl::string_view> words = Words(text);
  const auto boot = std::ranges::find(words, absl::string_view("btime"));
  const std::optional<uint64_t> boot_seconds = NumberAt(words, static_cast<size_t>(boot - words.begin()) + 1);
  if (!ticks || !boot_seconds) return;
  list.Gauge("process_start_time_seconds", "When the process began, since the epoch.",
             static_cast<double>(*boot_seconds) + static_cast<double>(*ticks) / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

void AddNetwork(FamilyList& list) {
  const std::optional<NetworkBytes> bytes = ParseNetstat(ReadFile("/proc/self/net/netstat"));
  if (!bytes) return;
  list.Counter("process_network_receive_bytes_total", "Bytes received, by all of the network namespace.",
               static_cast<double>(bytes->received));
  list.Counter("process_network_transmit_bytes_total", "Bytes sent, by all of the network namespace.",
               static_cast<double>(bytes->sent));
}

}  // namespace

std::optional<uint64_t> StartTicks(std::string_view stat) {
  // The second field is the program's name in parentheses, which may have spaces and parentheses of its own.
  const size_t end = stat.rfind(')');
  if (end == std::string_view::npos) return std::nullopt;
  return NumberAt(Words(stat.substr(end + 1)), 22 - 3);  // proc_pid_stat(5): field 22, counted from field 3
}

std::optional<NetworkBytes> ParseNetstat(std::string_view netstat) {
  // Two lines each: names, then numbers in the same order.
  std::vector<absl::string_view> names;
  for (const absl::string_view line : absl::StrSplit(absl::string_view(netstat.data(), netstat.size()), '\n')) {
    if (!absl::StartsWith(line, "IpExt: ")) continue;
    const std::vector<absl::string_view> words = Words(std::string_view(line.data(), line.size()));
    if (names.empty()) {
      names = words;
      continue;
    }
    const auto number = [&](absl::string_view name) {
      return NumberAt(words, static_cast<size_t>(std::ranges::find(names, name) - names.begin()));
    };
    const std::optional<uint64_t> received = number("InOctets");
    const std::optional<uint64_t> sent = number("OutOctets");
    if (!received || !sent) return std::nullopt;
    return NetworkBytes{.received = *received, .sent = *sent};
  }
  return std::nullopt;
}

std::vector<prometheus::MetricFamily> ProcessCollector::Collect() const {
  FamilyList list;
  AddCpu(list);
  list.Gauge("process_open_fds", "Open descriptors.", CountOpenDescriptors());
  AddLimit("process_max_fds", "How many descriptors may be open.", RLIMIT_NOFILE, list);
  AddMemory(list);
  AddLimit("process_virtual_memory_max_bytes", "How much address space may be in use.", RLIMIT_AS, list);
  AddStart(list);
  AddNetwork(list);
  return list.Take();
}

}  // namespace fiberscope::server
