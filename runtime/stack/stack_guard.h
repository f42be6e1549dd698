// Guard pages for stacks by the thousand, with whatever this machine offers.
//
//   kGuardInstall   madvise(MADV_GUARD_INSTALL), Linux >= 6.13, whole batches through process_madvise on ourselves:
//                   costs no memory map entry, survives MADV_DONTNEED
//   kMprotect       two memory map entries per stack, so only while the process has fewer than 80 % of
//                   vm.max_map_count; after that the stacks have kNone
//   kNone           nothing stops an overflow; it is found when the fiber ends, at the latest (StackSlab::CanaryIntact)
//
// Touching a guard is a SIGSEGV in user code, EFAULT in a system call.
//
// Thread-safe. Everything here blocks the thread for system calls and allocates.
#ifndef FIBERSCOPE_RUNTIME_STACK_STACK_GUARD_H_
#define FIBERSCOPE_RUNTIME_STACK_STACK_GUARD_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace fiberscope {

enum class GuardMode : uint8_t { kGuardInstall, kMprotect, kNone };
const char* GuardModeName(GuardMode mode);  // "guard-install", "mprotect", "none"

// What the machine can do, probed once at first use. Each facility can be forced off, for tests and as an escape.
struct StackFacilities {
  bool guard_install = true;    // MADV_GUARD_INSTALL
  bool process_madvise = true;  // on ourselves, for batches
  bool mprotect = true;
};
// What the kernel really offers.
const StackFacilities& ProbeStackFacilities();

// What `setting` leaves of `offered`: "guard-install" or "" everything, "mprotect" no guard-install, "none" no guards.
// kInvalidArgument, naming the choices, for anything else.
absl::StatusOr<StackFacilities> LimitStackFacilities(StackFacilities offered, std::string_view setting);

// For the process-wide slabs: what the kernel offers, limited by the environment variable FIBERSCOPE_STACK_GUARDS. A setting
// that makes no sense is reported on standard error, once, and ignored.
const StackFacilities& DefaultStackFacilities();

struct GuardedPages {
  size_t count = 0;                   // how many of the pages, from the first on, are guarded now
  GuardMode mode = GuardMode::kNone;  // how the last page is
};
// Guards the pages at first, first + stride, first + 2 * stride and so on, `count` of them, by the best way that works:
// when one gives up in the middle, the next goes on from there.
GuardedPages InstallGuards(uintptr_t first, size_t stride, size_t count, const StackFacilities& facilities);

// madvise(`advice`) on each range, in order, in as few system calls as it can. Returns how many ranges, from the first
// on, were done.
size_t AdviseRanges(std::span<const iovec> ranges, int advice, const StackFacilities& facilities);

// Entries in the memory map of this process, and the kernel's limit for them; nothing without /proc. MappingCount reads
// the whole map: about 0.1 us per entry.
std::optional<size_t> MappingCount();
std::optional<size_t> MappingLimit();

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STACK_STACK_GUARD_H_
