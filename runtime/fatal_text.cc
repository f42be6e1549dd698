#include "runtime/fatal_text.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>

#include "absl/debugging/symbolize.h"

namespace fiberscope::internal {

void FatalText::Add(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = std::vsnprintf(text_.data() + size_, text_.size() - size_, format, arguments);
  va_end(arguments);
  if (written > 0) size_ = std::min(size_ + static_cast<size_t>(written), text_.size() - 1);
  if (size_ > text_.size() / 2) Flush();
}

void FatalText::AddEscaped(std::string_view text) {
  for (const char c : text.substr(0, 256)) {
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      Add("%c", c);
    } else {
      Add("\\x%02x", static_cast<unsigned char>(c));
    }
  }
}

void FatalText::AddPc(uintptr_t pc, bool exact) {
  char name[512];
  // The call is before its return address.
  if (absl::Symbolize(reinterpret_cast<void*>(exact ? pc : pc - 1), name, sizeof(name))) {
    Add("    0x%" PRIxPTR " %s\n", pc, name);
  } else {
    Add("    0x%" PRIxPTR "\n", pc);
  }
}

void FatalText::AddFiberName(const ControlBlock& fiber) {
  std::array<char, AtomicName::kBytes> buffer;
  const std::string_view name = fiber.name.Load(buffer);
  if (name.empty()) return;
  Add(" \"");
  AddEscaped(name);
  Add("\"");
}

void FatalText::AddCreator(const ControlBlock& fiber) {
  char name[512];
  const uintptr_t pc = fiber.creator_pc.load(std::memory_order_relaxed);
  const bool known = absl::Symbolize(reinterpret_cast<void*>(pc - 1), name, sizeof(name));
  Add("created by %s (0x%" PRIxPTR ")", known ? name : "unknown", pc);
  if (const uint64_t parent = fiber.parent_id.load(std::memory_order_relaxed)) Add(" in fiber %" PRIu64, parent);
  Add("\n");
}

void FatalText::Flush() {
  constexpr size_t kAtomic = 4096;  // PIPE_BUF: so much a pipe takes at once when it is ready
  for (size_t at = 0; at < size_;) {
    pollfd writable{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    const bool ready = poll(&writable, 1, gave_up_ ? 0 : 1000) != 0;
    gave_up_ = !ready;
    if (!ready) break;
    const ssize_t written = write(STDERR_FILENO, text_.data() + at, std::min(size_ - at, kAtomic));
    if (written < 0 && errno != EINTR && errno != EAGAIN) break;
    if (written > 0) at += static_cast<size_t>(written);
  }
  size_ = 0;
}

}  // namespace fiberscope::internal
