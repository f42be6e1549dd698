#include "tests/testing/shop.h"

#include <chrono>

namespace fiberscope::pprof {
namespace {

using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;

constexpr char kShopFile[] = "/src/shop/shop.cc";
constexpr char kQueueFile[] = "/src/shop/queue.h";
constexpr char kScheduler[] = "/src/fiberscope/runtime/scheduler.h";

}  // namespace

FiberSnapshot TestFiber::View() const {
  FiberSnapshot view = snapshot;
  view.name = name;
  view.labels = labels;
  view.stack = stack;
  view.stack_available = !stack.empty();
  return view;
}

Shop::Shop() {
  DefineCode();
  DefineFibers();
}

void Shop::DefineCode() {
  FakeSymbolizer& code = symbolizer_;
  code.Function(0x401000, 0x401100, {"main", "main", "/src/shop/main.cc", 10, 8});
  code.Call(kMain - 1, 12);
  code.Function(0x402000, 0x402100, {"shop::Start(int)", "_ZN4shop5StartEi", kShopFile, 50, 50});
  code.Call(kStart - 1, 60,
            {{"fiberscope::Fiber fiberscope::Spawn<shop::Start(int)::{lambda()#1}>(shop::Start(int)::{lambda()#1})",
              "_ZN10fiberscope5SpawnIZN4shop5StartEiEUlvE_EENS_5FiberET_", kScheduler, 88, 80}});
  code.Function(0x403000, 0x403100, {"shop::Worker(shop::Queue&)", "_ZN4shop6WorkerERNS_5QueueE", kShopFile, 40, 40});
  code.Call(kTake - 1, 44, {{"shop::Queue::Take()", "_ZN4shop5Queue4TakeEv", kQueueFile, 12, 10}});
  code.Call(kWorker - 1, 42);
  code.Function(0x404000, 0x404100,
                {"int shop::(anonymous namespace)::Process<std::vector<int, std::allocator<int> > "
                 ">(std::vector<int, std::allocator<int> > const&)",
                 "_ZN4shop12_GLOBAL__N_17ProcessISt6vectorIiSaIiEEEEiRKT_", kShopFile, 20, 18});
  code.Call(kProcess - 1, 25);
  code.Function(0x405000, 0x405100,
                {"fiberscope::internal::Park(fiberscope::WaitReason)", "_ZN10fiberscope8internal4ParkENS_10WaitReasonE",
                 "/src/fiberscope/runtime/park.cc", 33, 30});
  code.Function(0x405100, 0x405200,
                {"fiberscope::Channel<int>::Receive()", "_ZN10fiberscope7ChannelIiE7ReceiveEv",
                 "/src/fiberscope/runtime/sync/channel.h", 71, 60});
  code.Function(0x405200, 0x405240, {"fiberscope_switch_context", "fiberscope_switch_context", "", 0, 0});
  code.Function(0x406000, 0x406010, {"fiberscope_fiber_entry", "fiberscope_fiber_entry", "", 0, 0});
  code.Function(0x406100, 0x406180,
                {"fiberscope::internal::FiberMain()", "_ZN10fiberscope8internal9FiberMainEv",
                 "/src/fiberscope/runtime/fiber.cc", 90, 85});
  code.Function(0x406200, 0x406280,
                {"void fiberscope::internal::RunEntry<shop::Start(int)::{lambda()#1}>(void*)",
                 "_ZN10fiberscope8internal8RunEntryIZN4shop5StartEiEUlvE_EEvPv", kScheduler, 120, 118});
  code.Call(
      kRunLambda - 1, 121,
      {{"shop::Start(int)::{lambda()#1}::operator()() const", "_ZZN4shop5StartEiENKUlvE_clEv", kShopFile, 61, 60}});
  code.Function(0x406300, 0x406380,
                {"void fiberscope::internal::RunEntry<void (*)(shop::Queue&)>(void*)",
                 "_ZN10fiberscope8internal8RunEntryIPFvRN4shop5QueueEEEEvPv", kScheduler, 120, 118});
  code.Function(0x7f0000000100, 0x7f0000000200, {"epoll_wait", "epoll_wait", "", 0, 0});
}

void Shop::DefineFibers() {
  FiberSnapshot parked;
  parked.state = FiberState::kWaiting;
  parked.creator_pc = kStart;
  parked.entry_pc = kWorkerEntry;
  const std::vector<uintptr_t> worker_stack = {kSwitch, kPark, kReceive, kTake, kRunWorker, kFiberMain, kTrampoline};

  FiberSnapshot main = parked;
  main.id = {1};
  main.wait_reason = WaitReason::kWaitGroup;
  main.waited = 3min;
  main.creator_pc = kMain;
  fibers_.push_back({main, "main", {}, {kSwitch, kPark, kStart, kRunLambda, kFiberMain, kTrampoline}});

  for (uint64_t id = 2; id <= 4; ++id) {
    FiberSnapshot worker = parked;
    worker.id = {id};
    worker.parent_id = {1};
    worker.wait_reason = WaitReason::kChannelReceive;
    worker.waited = 59s;
    fibers_.push_back({worker, "", {}, worker_stack});
  }

  FiberSnapshot busy = parked;
  busy.id = {5};
  busy.parent_id = {1};
  busy.state = FiberState::kRunning;
  fibers_.push_back({busy, "", {{"route", "/orders"}, {"tenant", "Käse & \"Co\"\n"}}, {}});

  FiberSnapshot queued = parked;
  queued.id = {6};
  queued.parent_id = {5};
  queued.state = FiberState::kRunnable;
  fibers_.push_back({queued, "", {{"route", "/orders"}}, {kProcess, kWorker, kRunWorker, kFiberMain, kTrampoline}});

  FiberSnapshot io = parked;
  io.id = {7};
  io.wait_reason = WaitReason::kIo;
  fibers_.push_back({io, "", {}, {kLibrary, kNowhere, kProcess, kRunLambda, kFiberMain, kTrampoline}});
}

GoroutineInputs Shop::Inputs() {
  return {
      .for_each_fiber =
          [this](const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit) {
            for (const TestFiber& fiber : fibers_) {
              const FiberSnapshot snapshot = fiber.View();
              const bool wanted = !options.wanted || options.wanted(snapshot);
              if (wanted && !visit(snapshot)) break;
            }
            return FiberListing{.is_one_instant = options.one_instant};
          },
      .fiber_count = [this] { return static_cast<int64_t>(fibers_.size()); },
      .mappings =
          [] {
            return std::vector<Mapping>{
                {0x400000, 0x500000, 0, "/opt/shop/bin/shop", "0123456789abcdef"},
                {0x7f0000000000, 0x7f0000100000, 0x1000, "/lib/x86_64-linux-gnu/libc.so.6", "fedcba9876543210"},
                {0x7fff00000000, 0x7fff00002000, 0, "[vdso]", ""},
            };
          },
      .now = [] { return std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::seconds(1'700'000'000)); },
  };
}

}  // namespace fiberscope::pprof
