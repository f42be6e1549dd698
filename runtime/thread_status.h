// What the kernel says about a thread of this process, without disturbing it: /proc/self/task/<id>.
//
// Nothing (nullopt, false) when the thread has ended or /proc is not there.
//
// Thread-safe. Async-signal-safe, but for errno. Blocks the thread for a read of a file that is not on a disk, 5-30 us. Takes 4 KiB
// of the caller's stack, or of `buffer` if one is given.
// Formats: proc_pid_stat(5), proc_pid_status(5), proc_pid_syscall(5).
#ifndef FIBERSCOPE_RUNTIME_THREAD_STATUS_H_
#define FIBERSCOPE_RUNTIME_THREAD_STATUS_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace fiberscope::internal {

// What a file is read into. "status", the longest, has 1.5 KB; more where a machine has hundreds of CPUs, but not before what we
// read.
class ThreadFileBuffer {
 public:
  constexpr ThreadFileBuffer() = default;
  operator std::span<char>() { return bytes_; }

 private:
  std::array<char, 4096> bytes_{};
};

// Whether the kernel has put the thread to sleep. Its CPU clock would not do: that stands still, too, while a thread that could
// run waits for a CPU.
bool SleepsInKernel(int thread_id, std::span<char> buffer = ThreadFileBuffer());

// Where a sleeping thread left its own code.
struct SystemCall {
  int64_t number = -1;                   // <sys/syscall.h>; -1: no call, a page fault for instance
  std::array<uint64_t, 6> arguments{};
  uintptr_t sp = 0;
  uintptr_t pc = 0;  // behind the instruction that made the call
  bool operator==(const SystemCall&) const = default;
};
// Nothing: it runs, or could.
std::optional<SystemCall> SleepingSystemCall(int thread_id, std::span<char> buffer = ThreadFileBuffer());
// One line of /proc/.../syscall.
std::optional<SystemCall> ParseSystemCall(std::string_view line);

// How often the thread has gone to sleep. If that is the same before a SleepingSystemCall() and after a later one, the thread has
// slept all the time between the two.
std::optional<uint64_t> SleepCount(int thread_id, std::span<char> buffer = ThreadFileBuffer());

// Whether a signal that was sent to the thread itself waits for it, because it blocks the signal or has not run since.
bool SignalIsPending(int thread_id, int signal_number, std::span<char> buffer = ThreadFileBuffer());

// Whether the thread has the signal blocked at this moment.
bool SignalIsBlocked(int thread_id, int signal_number, std::span<char> buffer = ThreadFileBuffer());

// 15 bytes at most, any but NUL.
class ThreadName {
 public:
  static constexpr size_t kBytes = 15;
  constexpr ThreadName() = default;
  constexpr explicit ThreadName(std::string_view name) : size_(std::min(name.size(), kBytes)) {
    std::copy_n(name.begin(), size_, bytes_.begin());
  }
  constexpr std::string_view view() const { return {bytes_.data(), size_}; }
  bool operator==(const ThreadName&) const = default;

 private:
  size_t size_ = 0;
  std::array<char, kBytes> bytes_{};
};

// What /proc/self/task/<id>/stat begins with.
struct ThreadIdentity {
  ThreadName name;
  char state = '?';  // R, S, D, T, t, Z, X, I
  bool operator==(const ThreadIdentity&) const = default;
};
std::optional<ThreadIdentity> IdentityOfThread(int thread_id, std::span<char> buffer = ThreadFileBuffer());
// One line of /proc/.../stat.
std::optional<ThreadIdentity> ParseThreadIdentity(std::string_view line);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_THREAD_STATUS_H_
