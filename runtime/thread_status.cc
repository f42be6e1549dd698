#include "runtime/thread_status.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace fiberscope::internal {
namespace {

// The file of that name, as much of it as fits `buffer`; empty when there is none.
std::string_view Read(int thread_id, const char* name, std::span<char> buffer) {
  std::array<char, 64> path;
  std::snprintf(path.data(), path.size(), "/proc/self/task/%d/%s", thread_id, name);
  const int file = open(path.data(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t got = read(file, buffer.data() + size, buffer.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  close(file);
  return {buffer.data(), size};
}

template <typename Integer>
std::optional<Integer> ParseInteger(std::string_view text, int base) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What stands behind "\nname:\t" in a status file.
std::string_view StatusField(std::string_view status, std::string_view key) {
  const size_t begin = status.find(key);
  if (begin == std::string_view::npos) return {};
  const std::string_view rest = status.substr(begin + key.size());
  return rest.substr(0, rest.find('\n'));
}

// Whether the number is in one of the sets of a status file.
bool HasSignal(std::string_view status, std::string_view key, int signal_number) {
  const auto signals = ParseInteger<uint64_t>(StatusField(status, key), 16);
  return signals.has_value() && signal_number > 0 && (*signals >> (signal_number - 1) & 1) != 0;
}

}  // namespace

bool SleepsInKernel(int thread_id, std::span<char> buffer) {
  const auto identity = IdentityOfThread(thread_id, buffer);
  return identity.has_value() && identity->state != 'R';
}

std::optional<SystemCall> ParseSystemCall(std::string_view line) {
  if (line.ends_with('\n')) line.remove_suffix(1);
  const auto next_word = [&line] {
    const std::string_view word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size() == line.size() ? word.size() : word.size() + 1);
    return word;
  };
  const auto next_address = [&next_word] {
    const std::string_view word = next_word();
    return word.starts_with("0x") ? ParseInteger<uint64_t>(word.substr(2), 16) : std::nullopt;
  };
  SystemCall call;
  const auto number = ParseInteger<int64_t>(next_word(), 10);
  if (!number) return std::nullopt;  // "running"
  call.number = *number;
  if (call.number >= 0) {
    for (uint64_t& argument : call.arguments) {
      const auto value = next_address();
      if (!value) return std::nullopt;
      argument = *value;
    }
  }
  const auto sp = next_address();
  const auto pc = next_address();
  if (!sp || !pc || !line.empty()) return std::nullopt;
  call.sp = *sp;
  call.pc = *pc;
  return call;
}

std::optional<SystemCall> SleepingSystemCall(int thread_id, std::span<char> buffer) {
  return ParseSystemCall(Read(thread_id, "syscall", buffer));
}

std::optional<uint64_t> SleepCount(int thread_id, std::span<char> buffer) {
  return ParseInteger<uint64_t>(StatusField(Read(thread_id, "status", buffer), "\nvoluntary_ctxt_switches:\t"), 10);
}

bool SignalIsPending(int thread_id, int signal_number, std::span<char> buffer) {
  return HasSignal(Read(thread_id, "status", buffer), "\nSigPnd:\t", signal_number);
}

bool SignalIsBlocked(int thread_id, int signal_number, std::span<char> buffer) {
  return HasSignal(Read(thread_id, "status", buffer), "\nSigBlk:\t", signal_number);
}

// "4711 (name) S ...": the name may have brackets and blanks of its own, so the last closing one counts.
std::optional<ThreadIdentity> ParseThreadIdentity(std::string_view line) {
  const size_t name_begin = line.find('(');
  const size_t name_end = line.rfind(')');
  if (name_begin == std::string_view::npos || name_end == std::string_view::npos || name_end < name_begin) return std::nullopt;
  if (name_end + 2 >= line.size()) return std::nullopt;
  return ThreadIdentity{.name = ThreadName(line.substr(name_begin + 1, name_end - name_begin - 1)), .state = line[name_end + 2]};
}

std::optional<ThreadIdentity> IdentityOfThread(int thread_id, std::span<char> buffer) {
  return ParseThreadIdentity(Read(thread_id, "stat", buffer));
}

}  // namespace fiberscope::internal
