#include "runtime/fatal_report.h"

#include <cxxabi.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cinttypes>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <typeinfo>

#include "absl/debugging/symbolize.h"
#include "runtime/control_block.h"
#include "runtime/fatal_text.h"
#include "runtime/fiber_pool.h"
#include "runtime/park.h"
#include "runtime/stack/stack_slab.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;
using internal::FatalText;

std::terminate_handler g_previous_terminate = nullptr;
struct sigaction g_previous_segv;
struct sigaction g_previous_bus;
std::atomic<bool> g_panic_reported{false};
std::atomic<bool> g_overflow_reported{false};

void AddStack(FatalText& report, const Registers& registers, StackBounds stack) {
  const UnwindTable* const table = UnwindTable::Current();
  if (table == nullptr) return;
  std::array<uintptr_t, 100> pcs;
  const UnwindResult result = Unwind(*table, registers, stack, pcs);
  for (size_t i = 0; i < result.depth; ++i) report.AddPc(pcs[i]);
  if (result.end == UnwindEnd::kBufferFull) report.Add("    ...\n");
}

void AddException(FatalText& report) {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  if (type == nullptr) {
    report.Add("panic: std::terminate called without an exception\n\n");
    return;
  }
  int status = -1;
  char* const name = abi::__cxa_demangle(type->name(), nullptr, nullptr, &status);
  report.Add("panic: %s", status == 0 ? name : type->name());
  std::free(name);
  try {
    std::rethrow_exception(std::current_exception());
  } catch (const std::exception& exception) {
    report.Add(": ");
    const char* const what = exception.what();
    report.AddEscaped(what != nullptr ? what : "(what() is null)");
  } catch (...) {
  }
  report.Add("\n\n");
}

void AddCurrentFiber(FatalText& report) {
  ControlBlock* const fiber = internal::CurrentFiber();
  if (fiber == nullptr) return;
  report.Add("fiber %" PRIu64 " [running]", fiber->fiber_id().value);
  report.AddFiberName(*fiber);
  report.Add(":\n");
  AddStack(report, CaptureRegisters(), fiber->stack());
  report.AddCreator(*fiber);
}

[[noreturn]] void OnTerminate() {
  static std::atomic<pid_t> reporter{0};
  const pid_t self = gettid();
  pid_t expected = 0;
  if (reporter.compare_exchange_strong(expected, self) || expected == self) {
    // Not on the stack: a fiber's may have 12 KiB only.
    static constinit FatalText report;
    static constinit int failures = 0;
    switch (failures++) {
      case 0:
        AddException(report);
        AddCurrentFiber(report);
        break;
      case 1:  // what() threw, which ends here again because it is noexcept
        report.Add("(what() threw)\n\n");
        AddCurrentFiber(report);
        break;
    }
    report.Flush();
    g_panic_reported = true;
  } else {
    // Another thread is reporting and will end the process; going on would cut its report off.
    for (;;) pause();
  }
  if (g_previous_terminate != nullptr) g_previous_terminate();
  std::abort();
}

void ReportOverflow(const ControlBlock& fiber, uintptr_t address) {
  if (g_overflow_reported.exchange(true)) return;
  const StackBounds stack = fiber.stack();
  FatalText report;
  report.Add("fatal error: stack overflow\nfiber %" PRIu64, fiber.fiber_id().value);
  report.AddFiberName(fiber);
  report.Add(": stack [0x%" PRIxPTR ", 0x%" PRIxPTR "), %zu bytes, fault at 0x%" PRIxPTR
             " in its guard page (SpawnOptions::stack_bytes makes it larger)\n",
             stack.low, stack.high, stack.size(), address);
  report.AddCreator(fiber);
  report.Flush();
}

void OnFault(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  const struct sigaction& previous = signal == SIGSEGV ? g_previous_segv : g_previous_bus;
  internal::ReportIfOverflow(address);
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(signal, info, context);
    return;
  }
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(signal);
    return;
  }
  // The faulting instruction runs again and ends the process the default way, core dump included. A signal that somebody sent does
  // not come again by itself.
  sigaction(signal, &previous, nullptr);
  if (info->si_code <= 0) tgkill(getpid(), gettid(), signal);
}

}  // namespace

void internal::ReportIfOverflow(uintptr_t address) {
  // Below the lowest word of the stack that this thread stands on: its guard page. In another fiber's it is a wild pointer.
  ControlBlock* const fiber = FiberPool::Instance().BlockOfStack(address);
  if (fiber != nullptr && fiber == CurrentFiber() && address < fiber->stack().low) ReportOverflow(*fiber, address);
}

bool internal::PanicReported() { return g_panic_reported; }

void InstallFatalReports() {
  static std::once_flag once;
  std::call_once(once, [] {
    absl::InitializeSymbolizer("");
    g_previous_terminate = std::set_terminate(OnTerminate);
    // The C++ library's own says the same once more, and does not escape what() says.
    if (g_previous_terminate == &__gnu_cxx::__verbose_terminate_handler) g_previous_terminate = nullptr;
    struct sigaction action = {};
    action.sa_sigaction = OnFault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigfillset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &g_previous_segv);
    sigaction(SIGBUS, &action, &g_previous_bus);
  });
}

void CheckUnguardedStack(const ControlBlock& fiber) {
  if (StackSlab::ForClass(fiber.stack_class).CanaryIntact(fiber.stack_slot)) return;
  const StackBounds stack = fiber.stack();
  FatalText report;
  report.Add("fatal error: stack overflow, found when the fiber had ended: its stack has no guard page\na fiber");
  report.AddFiberName(fiber);
  report.Add(": stack [0x%" PRIxPTR ", 0x%" PRIxPTR "), %zu bytes (SpawnOptions::stack_bytes makes it larger)\n",
             stack.low, stack.high, stack.size());
  report.AddCreator(fiber);
  report.Flush();
  std::abort();
}

void PrepareThreadForFatalReports() {
  stack_t current;
  if (sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE) == 0) return;
  // 64 KiB: the kernel's frame takes ~3 KiB with AVX-512, the report 8 KiB, the symbolizer some more.
  constexpr size_t kBytes = 64 << 10;
  struct AlternateStack {
    void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    ~AlternateStack() {
      if (memory == MAP_FAILED) return;
      const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
      sigaltstack(&none, nullptr);
      munmap(memory, kBytes);
    }
  };
  thread_local AlternateStack stack;
  if (stack.memory == MAP_FAILED) return;  // no report then; the overflow still ends the process
  const stack_t mine{.ss_sp = stack.memory, .ss_flags = 0, .ss_size = kBytes};
  sigaltstack(&mine, nullptr);
}

}  // namespace fiberscope
