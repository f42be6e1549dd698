#include "runtime/process_threads.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/stack/stack_memory.h"
#include "runtime/stack_signal.h"
#include "runtime/thread_status.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope {
namespace {

constexpr char kTasks[] = "/proc/self/task";

// Of the timeout: for walks from outside. What is left is for those that must be asked, all at once.
constexpr int kWalkShare = 3;
constexpr int kAllShares = 4;

bool HasEnded(const ThreadSnapshot& thread) { return thread.state == 'Z' || thread.state == 'X'; }

ThreadSnapshot::Outcome OutcomeOf(const RunningStack& stack, int thread_id) {
  using From = RunningStack::Outcome;
  using To = ThreadSnapshot::Outcome;
  switch (stack.outcome) {
    case From::kCaptured: return To::kCaptured;
    case From::kNoAnswer:
      return internal::SignalIsBlocked(thread_id, internal::StackSignalNumber()) ? To::kBlocksSignal : To::kNoAnswer;
    case From::kNoThread: return To::kEnded;
    case From::kRefused: return To::kRefused;
    case From::kNoSignal: return To::kNoSignal;
    case From::kRestless: return To::kRestless;
    case From::kNoTime: return To::kNoTime;
  }
  return To::kNoAnswer;
}

void SetStack(RunningStack stack, ThreadSnapshot& thread) {
  thread.outcome = OutcomeOf(stack, thread.thread_id);
  thread.fiber = stack.fiber;
  thread.end = stack.end;
  thread.stack = std::move(stack.pcs);
  // As a return address, like the others: whoever looks them up takes one off.
  if (!thread.stack.empty()) ++thread.stack.front();
}

// The calling thread needs nobody's help. Its stack, too, is copied, because it does not know its bounds either.
[[gnu::noinline]] void SetOwnStack(ThreadSnapshot& thread) {
  constexpr size_t kCopyBytes = 256 << 10;
  const Registers registers = CaptureRegisters();
  const auto copy = std::make_unique<std::array<std::byte, kCopyBytes>>();
  thread.stack.resize(RunningStack::kMaxFrames);
  const UnwindResult result =
      Unwind(UnwindTable::Refresh(), registers, CopyStack(registers.sp, *copy), thread.stack);
  thread.stack.resize(result.depth);
  thread.end = result.end;
  thread.outcome = ThreadSnapshot::Outcome::kCaptured;
}

void SetOtherStacks(std::vector<ThreadSnapshot>& threads, const ThreadOptions& options) {
  std::vector<RunningThread> others;
  std::vector<ThreadSnapshot*> places;
  for (ThreadSnapshot& thread : threads) {
    if (thread.thread_id == gettid() || HasEnded(thread)) continue;
    others.push_back({.thread_id = thread.thread_id, .own_stack = {}, .copy_stack = true});
    places.push_back(&thread);
  }
  const auto walk_timeout = options.timeout * kWalkShare / kAllShares;
  std::vector<RunningStack> stacks =
      CaptureRunningStacks(others, {.timeout = options.timeout - walk_timeout, .walk_timeout = walk_timeout});
  for (size_t i = 0; i < stacks.size(); ++i) SetStack(std::move(stacks[i]), *places[i]);
}

}  // namespace

std::vector<ThreadSnapshot> CaptureThreads(const ThreadOptions& options) {
  std::vector<ThreadSnapshot> threads;
  for (const int id : ThreadIds()) {
    const std::optional<internal::ThreadIdentity> identity = internal::IdentityOfThread(id);
    if (!identity) continue;
    threads.push_back({.thread_id = id, .name = std::string(identity->name.view()), .state = identity->state});
  }
  SetOtherStacks(threads, options);
  for (ThreadSnapshot& thread : threads) {
    if (thread.thread_id == gettid()) SetOwnStack(thread);
    if (HasEnded(thread)) thread.outcome = ThreadSnapshot::Outcome::kEnded;
  }
  std::erase_if(threads, [](const ThreadSnapshot& thread) {
    return thread.outcome == ThreadSnapshot::Outcome::kEnded && !HasEnded(thread);
  });
  return threads;
}

std::vector<int> ThreadIds() {
  std::vector<int> ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir(kTasks), &closedir);
  if (tasks == nullptr) return ids;
  while (const dirent* const entry = readdir(tasks.get())) {
    const std::string_view name = entry->d_name;
    int id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error == std::errc() && end == name.data() + name.size()) ids.push_back(id);
  }
  std::ranges::sort(ids);
  return ids;
}

int64_t ThreadCount() {
  struct stat tasks;
  constexpr int64_t kDots = 2;  // a folder's links: "." and ".." besides those in it
  return stat(kTasks, &tasks) == 0 ? std::max<int64_t>(0, static_cast<int64_t>(tasks.st_nlink) - kDots) : 0;
}

}  // namespace fiberscope
