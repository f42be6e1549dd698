// Holds one fiber in every state that a fiber and a goroutine can both be in; every_state.go does the same in Go, by
// functions of the same names. Prints where its debug server listens once all of them are there, and ends with its
// standard input.
//
// One processor that nothing is lent to: so the fiber that computes keeps the one behind it runnable for as long as we
// look.
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <vector>

#include "runtime/blocking.h"
#include "runtime/fiber.h"
#include "runtime/io/use_fiber.h"
#include "runtime/labels.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/condition_variable.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/rw_mutex.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/wait_group.h"
#include "runtime/this_fiber.h"
#include "runtime/thread_lock.h"
#include "server/debug_server.h"

namespace states {

using boost::asio::ip::tcp;
using fiberscope::Channel;
using fiberscope::Labels;
using fiberscope::Spawn;

// What the fibers wait for. None of it happens.
struct World {
  explicit World(boost::asio::any_io_executor executor) : socket(executor), peer(executor) {
    tcp::acceptor acceptor(executor, {boost::asio::ip::address_v4::loopback(), 0});
    peer.connect(acceptor.local_endpoint());
    acceptor.accept(socket);
    if (pipe(ends) != 0) std::perror("pipe");
  }

  Channel<int> channel;
  Channel<int> other;
  fiberscope::Mutex mutex;            // held
  fiberscope::RwMutex read_mutex;     // held by a reader
  fiberscope::RwMutex written_mutex;  // held by a writer
  fiberscope::Mutex condition_mutex;
  fiberscope::ConditionVariable condition;
  fiberscope::Semaphore semaphore{0};
  fiberscope::WaitGroup group;
  tcp::socket socket;
  tcp::socket peer;  // says nothing
  int ends[2] = {-1, -1};

  std::vector<fiberscope::Fiber> holders;
  Channel<int> spawned;                // all of `holders` are
  Channel<int> parked;                 // all of `holders` have
  std::atomic<bool> computing{false};  // until it is false again
  Channel<int> end;
};

void ChanReceive(World& world) { world.channel.Receive(); }
void ChanReceiveLocked(World& world) {
  const fiberscope::ThreadLock lock;
  world.channel.Receive();
}
void ChanSend(World& world) { world.other.Send(1); }
void ChanReceiveNil(World&) { fiberscope::Receive<int>(nullptr); }
void ChanSendNil(World&) { fiberscope::Send<int>(nullptr, 1); }
void SelectTwo(World& world) {
  std::optional<int> value;
  int sent = 1;
  fiberscope::Select(fiberscope::ReceiveCase(&world.channel, value), fiberscope::SendCase(&world.other, sent));
}
void SelectNil(World&) {
  Channel<int>* const none = nullptr;
  std::optional<int> value;
  int sent = 1;
  fiberscope::Select(fiberscope::ReceiveCase(none, value), fiberscope::SendCase(none, sent));
}
void SelectNoCases(World&) { fiberscope::Select(); }
void Sleep(World&) { fiberscope::this_fiber::SleepFor(std::chrono::hours(1)); }
void IoWait(World& world) {
  char data[1];
  boost::system::error_code error;
  world.socket.async_read_some(boost::asio::buffer(data), fiberscope::use_fiber[error]);
}
void Semacquire(World& world) { world.semaphore.Acquire(); }
void WaitGroupWait(World& world) { world.group.Wait(); }
void MutexLock(World& world) { const std::lock_guard lock(world.mutex); }
void RwMutexRLock(World& world) { const std::shared_lock lock(world.written_mutex); }
void RwMutexLock(World& world) { const std::lock_guard lock(world.read_mutex); }
void CondWait(World& world) {
  std::unique_lock lock(world.condition_mutex);
  world.condition.wait(lock);
}
void Syscall(World& world) {
  char byte;
  fiberscope::Blocking([&] { return read(world.ends[0], &byte, 1); });
}

void Runnable(World&) {}
void Running(World& world) {
  Spawn([&world] { Runnable(world); }, {.name = "Runnable"});
  world.computing = true;
  while (world.computing) {
  }
}

struct Holder {
  const char* name;
  void (*function)(World&);
  Labels labels = {};
};

void Spawner(World& world) {
  const std::lock_guard mutex(world.mutex);
  const std::shared_lock read(world.read_mutex);
  const std::unique_lock written(world.written_mutex);
  world.group.Add(1);
  const Holder holders[] = {
      {"ChanReceive", &ChanReceive, {{"path", "/orders/7"}, {"tenant", "K\xc3\xa4se & Co"}}},
      {"ChanReceiveLocked", &ChanReceiveLocked},
      {"ChanReceiveNil", &ChanReceiveNil},
      {"ChanSend", &ChanSend},
      {"ChanSendNil", &ChanSendNil},
      {"SelectTwo", &SelectTwo},
      {"SelectNil", &SelectNil},
      {"SelectNoCases", &SelectNoCases},
      {"Sleep", &Sleep},
      {"IoWait", &IoWait},
      {"Semacquire", &Semacquire},
      {"WaitGroupWait", &WaitGroupWait},
      {"MutexLock", &MutexLock},
      {"RwMutexRLock", &RwMutexRLock},
      {"RwMutexLock", &RwMutexLock},
      {"CondWait", &CondWait},
      {"Syscall", &Syscall},
  };
  for (const Holder& each : holders) {
    world.holders.push_back(
        Spawn([&world, function = each.function] { function(world); }, {.name = each.name, .labels = each.labels}));
  }
  world.spawned.Send(1);
  world.parked.Receive();
  Spawn([&world] { Running(world); }, {.name = "Running"});
  world.end.Receive();
}

bool IsThere(const fiberscope::Fiber& holder) {
  return holder.state() == fiberscope::FiberState::kWaiting || holder.state() == fiberscope::FiberState::kBlocking;
}

}  // namespace states

int main() {
  auto debug = fiberscope::server::DebugServer::Start({.port = 0});
  if (!debug.ok()) return std::fprintf(stderr, "%s\n", debug.status().ToString().c_str()), 1;
  fiberscope::Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  states::World world(scheduler.get_executor());
  scheduler.Spawn([&world] { Spawner(world); }, {.name = "Spawner"});
  world.spawned.Receive();
  while (!std::ranges::all_of(world.holders, states::IsThere)) sched_yield();
  world.parked.Send(1);
  while (!world.computing) sched_yield();
  std::printf("%s\n", (*debug)->address().c_str());
  std::fflush(stdout);

  while (std::getchar() != EOF) {
  }
  world.computing = false;
  close(world.ends[1]);
  scheduler.Stop();
  close(world.ends[0]);
  return 0;
}
