// A program that knows what it does, and execution traces of it: trace_views.go compares what `go tool trace` shows.
//
//   trace_views_sample DIRECTORY
//
// Writes views.go122, views.go123 and views.go119, the same trace in three forms, and facts.json. Facts are counted and
// timed by the program itself, never taken from the trace.
//
// How the number of waits is known: nobody is woken before the registry shows that it waits. The main thread does that,
// which is no fiber, so that its looking on is not in the trace.
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/symbolizer.h"
#include "pprof/trace/go119_encoder.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_timeline.h"
#include "runtime/base/clock.h"
#include "runtime/blocking.h"
#include "runtime/execution_trace.h"
#include "runtime/io/use_fiber.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/condition_variable.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/select.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"

namespace sample {

using namespace std::chrono_literals;
using fiberscope::Channel;
using fiberscope::ExecutionTrace;
using fiberscope::Fiber;
using fiberscope::FiberState;
using fiberscope::MonotonicNowNs;
using fiberscope::Mutex;
using fiberscope::Scheduler;
using fiberscope::TraceGeneration;
using fiberscope::TraceGenerations;
using fiberscope::WaitReason;
using fiberscope::pprof::StringSink;
using fiberscope::pprof::TraceFormat;

constexpr std::chrono::nanoseconds kPause = 1ms;

// How long something took, as seen from within and from without.
struct Span {
  int64_t least_ns = 0;
  int64_t most_ns = 0;
};

class Stopwatch {
 public:
  void Begun() { begun_ = MonotonicNowNs(); }
  void Ends() { ends_ = MonotonicNowNs(); }
  // When it has ended.
  Span Stop() const { return {ends_ - begun_, MonotonicNowNs() - before_}; }

 private:
  const int64_t before_ = MonotonicNowNs();
  int64_t begun_ = 0;
  int64_t ends_ = 0;
};

// All of it as JSON. Thread-safe.
class Facts {
 public:
  void Spawned(const std::string& name, const Fiber& fiber) {
    const std::lock_guard lock(mutex_);
    fibers_[name].push_back(fiber.id().value);
  }
  // How often one of these fibers waited and was woken again, all together; how long each of them waited at least.
  void Waited(const std::string& name, const std::string& reason, int times, std::chrono::nanoseconds at_least = {}) {
    const std::lock_guard lock(mutex_);
    waits_.push_back("{\"fibers\": \"" + name + "\", \"reason\": \"" + reason + "\", \"times\": " +
                     std::to_string(times) + ", \"least_ns\": " + std::to_string(at_least.count()) + "}");
  }
  void Task(const std::string& type, uint64_t id, uint64_t parent, int logs, std::optional<Span> span) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back("{\"type\": \"" + type + "\", \"id\": " + std::to_string(id) + ", \"parent\": " +
                     std::to_string(parent) + ", \"logs\": " + std::to_string(logs) + SpanText(span) + "}");
  }
  void Region(const std::string& type, uint64_t task, std::optional<Span> span) {
    const uint64_t fiber = fiberscope::this_fiber::id().value;
    const std::lock_guard lock(mutex_);
    regions_.push_back("{\"type\": \"" + type + "\", \"fiber\": " + std::to_string(fiber) +
                       ", \"task\": " + std::to_string(task) + SpanText(span) + "}");
  }
  void Processors(int count) {
    const std::lock_guard lock(mutex_);
    processors_.push_back(std::to_string(count));
  }

  std::string Json() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> fibers;
    for (const auto& [name, ids] : fibers_) {
      std::vector<std::string> numbers;
      for (const uint64_t id : ids) numbers.push_back(std::to_string(id));
      fibers.push_back("\"" + name + "\": [" + Joined(numbers) + "]");
    }
    return "{\"fibers\": {" + Joined(fibers) + "},\n \"waits\": [" + Joined(waits_) + "],\n \"tasks\": [" +
           Joined(tasks_) + "],\n \"regions\": [" + Joined(regions_) + "],\n \"processors\": [" + Joined(processors_) +
           "]}\n";
  }

 private:
  static std::string Joined(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& each : parts) text += (text.empty() ? "" : ", ") + each;
    return text;
  }
  // Without one it had not ended when the trace did.
  static std::string SpanText(const std::optional<Span>& span) {
    if (!span) return ", \"ended\": false";
    return ", \"ended\": true, \"least_ns\": " + std::to_string(span->least_ns) +
           ", \"most_ns\": " + std::to_string(span->most_ns);
  }

  std::mutex mutex_;
  std::map<std::string, std::vector<uint64_t>> fibers_;  // by entry function
  std::vector<std::string> waits_;
  std::vector<std::string> tasks_;
  std::vector<std::string> regions_;
  std::vector<std::string> processors_;
};

Facts g_facts;

template <typename F>
void InRegion(const char* type, uint64_t task, const F& body) {
  Stopwatch watch;
  {
    const fiberscope::TraceRegion region(type);
    watch.Begun();
    body();
    watch.Ends();
  }
  g_facts.Region(type, task, watch.Stop());
}

// Until the fiber waits for that, as the registry sees it, after it has been woken so many times at least. The test's
// time limit is the deadline.
void AwaitWait(const Fiber& fiber, WaitReason reason, uint64_t wakeups = 0) {
  for (bool waits = false; !waits; sched_yield()) {
    fiberscope::ForEachFiber({.stacks = false}, [&](const fiberscope::FiberSnapshot& each) {
      if (each.id != fiber.id()) return true;
      waits = each.state == FiberState::kWaiting && each.wait_reason == reason && each.wakeups >= wakeups;
      return false;
    });
  }
}

// ---- What fibers do. Their entry functions are the names in the trace.

struct Forgotten {
  Channel<int>* nothing;
  [[gnu::noinline]] void operator()() const { nothing->Receive(); }
};

struct Sleeper {
  static constexpr int kTimes = 4;
  [[gnu::noinline]] void operator()() const {
    for (int i = 0; i < kTimes; ++i) fiberscope::this_fiber::SleepFor(kPause);
  }
};

struct Receiver {
  Channel<int>* from;
  [[gnu::noinline]] void operator()() const {
    while (from->Receive()) {
    }
  }
};

struct Producer {
  Channel<int>* go;
  Channel<int>* to;
  [[gnu::noinline]] void operator()() const {
    while (const auto value = go->Receive()) to->Send(*value);
  }
};

struct Sender {
  static constexpr int kTimes = 5;
  Channel<int>* to;
  [[gnu::noinline]] void operator()() const {
    for (int i = 0; i < kTimes; ++i) to->Send(i);
  }
};

struct Selector {
  static constexpr int kTimes = 4;
  Channel<int>* left;
  Channel<int>* right;
  [[gnu::noinline]] void operator()() const {
    std::optional<int> value;
    for (int i = 0; i < kTimes; ++i)
      fiberscope::Select(fiberscope::ReceiveCase(left, value), fiberscope::ReceiveCase(right, value));
  }
};

struct Holder {
  Mutex* mutex;
  Channel<int>* go;
  [[gnu::noinline]] void operator()() const {
    const std::lock_guard lock(*mutex);
    go->Receive();
  }
};

struct Locker {
  Mutex* mutex;
  [[gnu::noinline]] void operator()() const { const std::lock_guard lock(*mutex); }
};

struct Observer {
  static constexpr int kTimes = 3;
  Mutex* mutex;
  fiberscope::ConditionVariable* changed;
  [[gnu::noinline]] void operator()() const {
    std::unique_lock lock(*mutex);
    for (int i = 0; i < kTimes; ++i) changed->wait(lock);
  }
};

struct Reader {
  static constexpr int kTimes = 7;
  boost::asio::local::stream_protocol::socket* socket;
  [[gnu::noinline]] void operator()() const {
    char byte[1];
    boost::system::error_code error;
    for (int i = 0; i < kTimes; ++i) socket->async_read_some(boost::asio::buffer(byte), fiberscope::use_fiber[error]);
  }
};

// Each call is followed by a wait that has a stack: tools up to 1.24 end a call's time there.
struct Caller {
  static constexpr int kTimes = 6;
  [[gnu::noinline]] void operator()() const {
    for (int i = 0; i < kTimes; ++i) {
      const timespec time = {.tv_sec = 0, .tv_nsec = kPause.count()};
      fiberscope::Blocking([&] { (void)ppoll(nullptr, 0, &time, nullptr); }, {.expect_long = true});
      fiberscope::this_fiber::SleepFor(kPause);
    }
  }
};

struct Child {
  [[gnu::noinline]] void operator()() const { fiberscope::this_fiber::Yield(); }
};

struct Parent {
  static constexpr int kChildren = 10;
  std::vector<Fiber>* children;
  [[gnu::noinline]] void operator()() const {
    for (int i = 0; i < kChildren; ++i) children->push_back(fiberscope::Spawn(Child{}));
  }
};

struct Ship {
  uint64_t order;
  Channel<int>* go;
  [[gnu::noinline]] void operator()() const {
    Stopwatch watch;
    uint64_t id = 0;
    {
      const fiberscope::TraceTask parcel("parcel");
      watch.Begun();
      id = parcel.id();
      InRegion("ship", id, [&] { go->Receive(); });
      watch.Ends();
    }
    g_facts.Task("parcel", id, order, /*logs=*/0, watch.Stop());
  }
};

struct Order {
  int number;
  Channel<int>* go;
  Fiber* ship;
  std::atomic<bool>* shipped;
  [[gnu::noinline]] void operator()() const {
    Stopwatch watch;
    uint64_t id = 0;
    {
      const fiberscope::TraceTask order("order");
      watch.Begun();
      id = order.id();
      fiberscope::TraceLog("item", "kettle #" + std::to_string(number));
      InRegion("reserve", id, [] { fiberscope::this_fiber::SleepFor(kPause); });
      InRegion("pay", id, [&] {
        fiberscope::TraceLog("amount", "12");
        InRegion("card", id, [] { fiberscope::this_fiber::SleepFor(kPause); });
      });
      *ship = fiberscope::Spawn(Ship{id, go});
      shipped->store(true);
      ship->Join();
      watch.Ends();
    }
    g_facts.Task("order", id, 0, /*logs=*/2, watch.Stop());
  }
};

struct Stuck {
  Channel<int>* nothing;
  [[gnu::noinline]] void operator()() const {
    const fiberscope::TraceTask task("stuck order");
    const fiberscope::TraceRegion region("for ever");
    g_facts.Task("stuck order", task.id(), 0, /*logs=*/0, std::nullopt);
    g_facts.Region("for ever", task.id(), std::nullopt);
    nothing->Receive();
  }
};

struct Tick {
  [[gnu::noinline]] void operator()() const {}
};

// ---- What happens, one after the other, driven by the main thread.

class Program {
 public:
  void BeforeTheTrace() {
    for (int i = 0; i < 3; ++i) left_.push_back(Spawn("Forgotten", Forgotten{&nothing_}));
    for (const Fiber& each : left_) AwaitWait(each, WaitReason::kChannelReceive);
    g_facts.Processors(kProcessors);
  }

  void FirstHalf() {
    Spawn("Tick", Tick()).Join();
    Channels();
    Locks();
    Network();
    for (int i = 0; i < kOrders; ++i)
      orders_[i].fiber = Spawn("Order", Order{i, &orders_[i].go, &orders_[i].ship, &orders_[i].shipped});
    for (PlacedOrder& each : orders_) {
      while (!each.shipped.load()) sched_yield();
      g_facts.Spawned(NameOf("Ship"), each.ship);
      AwaitWait(each.fiber, WaitReason::kJoin);
      AwaitWait(each.ship, WaitReason::kChannelReceive);
    }
  }

  // Another generation: what is under way goes on.
  void SecondHalf() {
    for (PlacedOrder& each : orders_) each.go.Send(1);
    for (PlacedOrder& each : orders_) each.fiber.Join();
    Waited("Order", "sleep", 2 * kOrders, 2 * kPause);
    Waited("Order", "sync (join)", kOrders);
    Waited("Ship", "chan receive", kOrders);

    Run(3);
    std::vector<Fiber> sleepers;
    for (int i = 0; i < 5; ++i) sleepers.push_back(Spawn("Sleeper", Sleeper()));
    for (const Fiber& each : sleepers) each.Join();
    Waited("Sleeper", "sleep", 5 * Sleeper::kTimes, Sleeper::kTimes * kPause);
    Spawn("Caller", Caller()).Join();
    Waited("Caller", "syscall", Caller::kTimes, Caller::kTimes * kPause);
    Waited("Caller", "sleep", Caller::kTimes, Caller::kTimes * kPause);
    Run(1);
    std::vector<Fiber> children;
    Spawn("Parent", Parent{&children}).Join();
    for (const Fiber& each : children) g_facts.Spawned(NameOf("Child"), each);
    for (const Fiber& each : children) each.Join();
    for (int i = 0; i < 2; ++i) {
      left_.push_back(Spawn("Stuck", Stuck{&nothing_}));
      AwaitWait(left_.back(), WaitReason::kChannelReceive);
    }
    Waited("Stuck", "chan receive", 0);
    Run(2);
  }

  void AfterTheTrace() {
    nothing_.Close();
    for (const Fiber& each : left_) each.Join();
  }

 private:
  static std::string NameOf(const std::string& function) { return "sample::" + function + "::operator()"; }
  static void Waited(const std::string& function, const std::string& reason, int times,
                     std::chrono::nanoseconds at_least = {}) {
    g_facts.Waited(NameOf(function), reason, times, at_least);
  }

  template <typename F>
  Fiber Spawn(const std::string& name, const F& function) {
    const Fiber fiber = scheduler_.Spawn(function);
    g_facts.Spawned(NameOf(name), fiber);
    return fiber;
  }

  // From now on on so many processors; a fiber that starts says so in the trace.
  void Run(int processors) {
    scheduler_.SetProcessors(processors);
    Spawn("Tick", Tick()).Join();
    g_facts.Processors(processors);
  }

  void Channels() {
    Channel<int> values;
    const Fiber receiver = Spawn("Receiver", Receiver{&values});
    for (int i = 0; i < 10; ++i) {
      AwaitWait(receiver, WaitReason::kChannelReceive);
      values.Send(i);
    }
    // Fibers wake each other.
    Channel<int> go;
    const Fiber producer = Spawn("Producer", Producer{&go, &values});
    for (int i = 0; i < 6; ++i) {
      AwaitWait(receiver, WaitReason::kChannelReceive);
      AwaitWait(producer, WaitReason::kChannelReceive);
      go.Send(i);
    }
    AwaitWait(producer, WaitReason::kChannelReceive);
    go.Close();
    producer.Join();
    AwaitWait(receiver, WaitReason::kChannelReceive);
    values.Close();
    receiver.Join();
    Waited("Receiver", "chan receive", 10 + 6 + 1);
    Waited("Producer", "chan receive", 6 + 1);

    Channel<int> full;
    const Fiber sender = Spawn("Sender", Sender{&full});
    for (int i = 0; i < Sender::kTimes; ++i) {
      AwaitWait(sender, WaitReason::kChannelSend);
      full.Receive();
    }
    sender.Join();
    Waited("Sender", "chan send", Sender::kTimes);

    Channel<int> left;
    Channel<int> right;
    const Fiber selector = Spawn("Selector", Selector{&left, &right});
    for (int i = 0; i < Selector::kTimes; ++i) {
      AwaitWait(selector, WaitReason::kSelect);
      (i % 2 == 0 ? left : right).Send(i);
    }
    selector.Join();
    Waited("Selector", "select", Selector::kTimes);
  }

  void Locks() {
    Mutex mutex;
    Channel<int> go;
    const Fiber holder = Spawn("Holder", Holder{&mutex, &go});
    AwaitWait(holder, WaitReason::kChannelReceive);
    std::vector<Fiber> lockers;
    for (int i = 0; i < 4; ++i) {
      lockers.push_back(Spawn("Locker", Locker{&mutex}));
      AwaitWait(lockers.back(), WaitReason::kMutexLock);
    }
    go.Send(1);
    for (const Fiber& each : lockers) each.Join();
    holder.Join();
    Waited("Holder", "chan receive", 1);
    Waited("Locker", "sync", 4);

    fiberscope::ConditionVariable changed;
    const Fiber observer = Spawn("Observer", Observer{&mutex, &changed});
    for (int i = 0; i < Observer::kTimes; ++i) {
      AwaitWait(observer, WaitReason::kCondition);
      changed.notify_one();
    }
    observer.Join();
    Waited("Observer", "sync.(*Cond).Wait", Observer::kTimes);
  }

  void Network() {
    boost::asio::local::stream_protocol::socket near(scheduler_.get_executor());
    boost::asio::local::stream_protocol::socket far(scheduler_.get_executor());
    boost::asio::local::connect_pair(near, far);
    const Fiber reader = Spawn("Reader", Reader{&near});
    for (int i = 0; i < Reader::kTimes; ++i) {
      AwaitWait(reader, WaitReason::kIo, static_cast<uint64_t>(i));  // the reactor wakes it some time after the write
      if (write(far.native_handle(), "x", 1) != 1) std::abort();
    }
    reader.Join();
    Waited("Reader", "network", Reader::kTimes);
  }

  static constexpr int kProcessors = 2;
  static constexpr int kOrders = 8;
  struct PlacedOrder {
    Channel<int> go;
    Fiber fiber;
    Fiber ship;
    std::atomic<bool> shipped{false};
  };

  Scheduler scheduler_{{.processors = kProcessors, .stall_after = std::chrono::nanoseconds::max()}};
  Channel<int> nothing_;
  std::vector<Fiber> left_;
  PlacedOrder orders_[kOrders];
};

// ---- The trace.

TraceGenerations Take() {
  Program program;
  program.BeforeTheTrace();
  auto trace = ExecutionTrace::Start();
  if (!trace.ok()) {
    std::fprintf(stderr, "no trace: %s\n", std::string(trace.status().message()).c_str());
    std::exit(1);
  }
  TraceGenerations generations;
  const auto add = [&](const TraceGenerations& next) { std::ranges::copy(next, std::back_inserter(generations)); };
  program.FirstHalf();
  add((*trace)->Next());
  program.SecondHalf();
  add((*trace)->Stop());
  program.AfterTheTrace();
  return generations;
}

void Save(const std::string& path, const absl::Status& made, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  file.close();
  if (made.ok() && file) return;
  std::fprintf(stderr, "%s cannot be written: %s\n", path.c_str(), std::string(made.message()).c_str());
  std::exit(1);
}

}  // namespace sample

int main(int argc, char** argv) {
  using namespace sample;
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  const auto symbolizer = fiberscope::pprof::MakeProcessSymbolizer();
  symbolizer->WaitForLines(60s);
  const TraceGenerations generations = Take();
  const std::string path = std::string(argv[1]) + "/";
  for (const auto& [name, format] :
       {std::pair("views.go122", TraceFormat::kGo122), std::pair("views.go123", TraceFormat::kGo123)}) {
    const auto frames = fiberscope::pprof::MakeTraceFrames(*symbolizer);
    StringSink sink;
    fiberscope::pprof::Go122Encoder encoder(*frames, sink, format);
    absl::Status made = encoder.Begin();
    for (const auto& each : generations) made.Update(encoder.Write(*each));
    Save(path + name, made, sink.text());
  }
  const auto frames = fiberscope::pprof::MakeTraceFrames(*symbolizer);
  const auto timeline = fiberscope::pprof::TraceTimeline::Make(generations);
  StringSink go119;
  Save(path + "views.go119", timeline.ok() ? WriteGo119Trace(*timeline, *frames, go119) : timeline.status(),
       go119.text());
  Save(path + "facts.json", absl::OkStatus(), g_facts.Json());
}
