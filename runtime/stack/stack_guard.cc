#include "runtime/stack/stack_guard.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace fiberscope {
namespace {

// Linux 6.13; Debian 12's headers are of 6.1.
constexpr int kMadvGuardInstall = 102;

size_t PageBytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// Reads a file to its end, piece by piece. False when it cannot be read.
template <typename Visit>
bool ReadFile(const char* path, Visit visit) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  std::vector<char> buffer(64 << 10);  // not on the stack: it may be a fiber's
  ssize_t bytes;
  while ((bytes = read(file, buffer.data(), buffer.size())) > 0) visit(buffer.data(), buffer.data() + bytes);
  close(file);
  return bytes == 0;
}

// As many of `ranges` as process_madvise takes. Our own descriptor is opened each time: one that was kept would, after
// a fork, advise on the parent's memory from the child.
size_t AdviseInBatches(std::span<const iovec> ranges, int advice) {
  const int self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  if (self < 0) return 0;
  size_t done = 0;
  while (done < ranges.size()) {
    const std::span<const iovec> batch = ranges.subspan(done, std::min<size_t>(ranges.size() - done, IOV_MAX));
    const ssize_t advised = syscall(SYS_process_madvise, self, batch.data(), batch.size(), advice, 0u);
    // It says how many bytes it got through before an error, if any.
    size_t complete = 0;
    for (ssize_t left = advised; complete < batch.size(); ++complete) {
      left -= static_cast<ssize_t>(batch[complete].iov_len);
      if (left < 0) break;
    }
    done += complete;
    if (complete < batch.size()) break;
  }
  close(self);
  return done;
}

// How many of `pages` were taken away by mprotect.
size_t ProtectPages(std::span<const iovec> pages) {
  const std::optional<size_t> mappings = MappingCount();
  const std::optional<size_t> limit = MappingLimit();
  if (!mappings.has_value() || !limit.has_value()) return 0;
  // Each guard splits off one entry for itself and one for the stack above it. The last fifth is for the application.
  const size_t budget = *limit / 5 * 4;
  const size_t room = *mappings < budget ? (budget - *mappings) / 2 : 0;
  size_t done = 0;
  while (done < std::min(pages.size(), room) && mprotect(pages[done].iov_base, pages[done].iov_len, PROT_NONE) == 0) {
    ++done;
  }
  return done;
}

StackFacilities Probe() {
  StackFacilities offered{.guard_install = false, .process_madvise = false, .mprotect = false};
  const size_t page = PageBytes();
  void* const memory = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return offered;
  const iovec range{memory, page};
  // Linux allows this one on oneself since the same 6.13.
  offered.process_madvise = AdviseInBatches({&range, 1}, MADV_DONTNEED) == 1;
  // A kernel (or an emulation of one) that ignores advice it does not know must not pass: see that the guard is there.
  offered.guard_install =
      madvise(memory, page, kMadvGuardInstall) == 0 && getrandom(memory, 1, 0) == -1 && errno == EFAULT;
  offered.mprotect = mprotect(memory, page, PROT_NONE) == 0;
  munmap(memory, page);
  return offered;
}

}  // namespace

GuardedPages InstallGuards(uintptr_t first, size_t stride, size_t count, const StackFacilities& facilities) {
  std::vector<iovec> pages(count);
  for (size_t i = 0; i < count; ++i) pages[i] = {reinterpret_cast<void*>(first + i * stride), PageBytes()};
  const std::span<const iovec> all = pages;

  GuardedPages guarded;
  if (facilities.guard_install) {
    guarded.count = AdviseRanges(all, kMadvGuardInstall, facilities);
    if (guarded.count == count) guarded.mode = GuardMode::kGuardInstall;
  }
  if (guarded.count < count && facilities.mprotect) {
    guarded.count += ProtectPages(all.subspan(guarded.count));
    if (guarded.count == count) guarded.mode = GuardMode::kMprotect;
  }
  return guarded;
}

size_t AdviseRanges(std::span<const iovec> ranges, int advice, const StackFacilities& facilities) {
  size_t done = facilities.process_madvise ? AdviseInBatches(ranges, advice) : 0;
  while (done < ranges.size() && madvise(ranges[done].iov_base, ranges[done].iov_len, advice) == 0) ++done;
  return done;
}

std::optional<size_t> MappingCount() {
  size_t lines = 0;
  const auto count_lines = [&](const char* begin, const char* end) { lines += std::count(begin, end, '\n'); };
  if (!ReadFile("/proc/self/maps", count_lines)) return std::nullopt;
  return lines;
}

std::optional<size_t> MappingLimit() {
  size_t limit = 0;
  const auto read_number = [&](const char* begin, const char*) { limit = std::strtoul(begin, nullptr, 10); };
  if (!ReadFile("/proc/sys/vm/max_map_count", read_number) || limit == 0) return std::nullopt;
  return limit;
}

const StackFacilities& ProbeStackFacilities() {
  static const StackFacilities offered = Probe();
  return offered;
}

absl::StatusOr<StackFacilities> LimitStackFacilities(StackFacilities offered, std::string_view setting) {
  if (setting.empty() || setting == GuardModeName(GuardMode::kGuardInstall)) return offered;
  offered.guard_install = false;
  if (setting == GuardModeName(GuardMode::kMprotect)) return offered;
  offered.mprotect = false;
  if (setting == GuardModeName(GuardMode::kNone)) return offered;
  return absl::InvalidArgumentError(
      absl::StrFormat("\"%s\" is none of guard-install, mprotect, none", absl::CHexEscape(std::string(setting))));
}

const StackFacilities& DefaultStackFacilities() {
  static const StackFacilities chosen = [] {
    const char* const setting = std::getenv("FIBERSCOPE_STACK_GUARDS");
    const absl::StatusOr<StackFacilities> limited =
        LimitStackFacilities(ProbeStackFacilities(), setting != nullptr ? setting : "");
    if (limited.ok()) return *limited;
    std::fprintf(stderr, "fiberscope: FIBERSCOPE_STACK_GUARDS is ignored: %s\n",
                 std::string(limited.status().message()).c_str());
    return ProbeStackFacilities();
  }();
  return chosen;
}

const char* GuardModeName(GuardMode mode) {
  switch (mode) {
    case GuardMode::kGuardInstall:
      return "guard-install";
    case GuardMode::kMprotect:
      return "mprotect";
    case GuardMode::kNone:
      return "none";
  }
  return "unknown";
}

}  // namespace fiberscope
