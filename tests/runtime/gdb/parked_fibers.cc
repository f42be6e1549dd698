// Fibers for a debugger to look at. When AllParked() is called first, one computes, one waits for its turn behind it, one is in
// a blocking call, and all others are parked. The second time they have ended. With an argument it aborts instead of the first.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "runtime/blocking.h"
#include "runtime/fiber.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/this_fiber.h"

namespace parked {

using fiberscope::Channel;
using fiberscope::Fiber;

struct World {
  Channel<int> channel;
  fiberscope::Mutex mutex;
  std::vector<Fiber> holders;
  int ends[2] = {-1, -1};              // of a pipe
  std::atomic<bool> computing{false};  // until it is false again
};

[[gnu::noinline]] int Receive(World& world, int order) {
  // Needed after the wait, so in a register that a call preserves, or on the stack.
  const int doubled = order * 2;
  const int received = world.channel.Receive().value_or(0);
  return received + doubled;
}

[[gnu::noinline]] void Sleep(World&) { fiberscope::this_fiber::SleepFor(std::chrono::hours(1)); }
[[gnu::noinline]] void Lock(World& world) { const std::lock_guard lock(world.mutex); }

[[gnu::noinline]] void Block(World& world) {
  char byte;
  fiberscope::Blocking([&] { return read(world.ends[0], &byte, 1); });
}

[[gnu::noinline]] void Compute(World& world) {
  fiberscope::Spawn([] { std::puts("began"); }, {.name = "fresh"});
  world.computing = true;
  while (world.computing) {
  }
}

void Own(World& world, int argc) {
  const std::lock_guard lock(world.mutex);
  for (int i = 0; i < 5; ++i) {
    world.holders.push_back(fiberscope::Spawn(
        [&world, order = 20 + argc] { std::printf("%d\n", Receive(world, order)); }, {.name = "receiver"}));
  }
  world.holders.push_back(fiberscope::Spawn([&world] { Sleep(world); }, {.name = "a \"quoted\" \x01 name"}));
  world.holders.push_back(fiberscope::Spawn([&world] { Lock(world); }));
  world.holders.push_back(fiberscope::Spawn([&world] { Block(world); }, {.name = "reader"}));
  world.channel.Receive();
}

bool IsThere(const Fiber& fiber) {
  return fiber.state() == fiberscope::FiberState::kWaiting || fiber.state() == fiberscope::FiberState::kBlocking;
}

}  // namespace parked

extern "C" [[gnu::noinline]] void AllParked() { asm volatile(""); }

int main(int argc, char**) {
  parked::World world;
  if (pipe(world.ends) != 0) return 1;
  {
    // One processor that nothing is lent to, so that nobody runs but the fiber that computes.
    fiberscope::Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
    const fiberscope::Fiber owner = scheduler.Spawn([&] { parked::Own(world, argc); }, {.name = "owner"});
    while (!parked::IsThere(owner)) sched_yield();
    while (!std::ranges::all_of(world.holders, parked::IsThere)) sched_yield();
    scheduler.Spawn([&] { parked::Compute(world); }, {.name = "computer"});
    while (!world.computing) sched_yield();
    if (argc > 1) std::abort();
    AllParked();
    world.computing = false;
    close(world.ends[1]);
  }
  AllParked();
}
