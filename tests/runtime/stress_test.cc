// Goal: whatever fibers do to each other, nothing is lost, doubled, torn or left, on any number of processors.
//
// Method: rounds, each with a scheduler of its own. Run queues of two slots overflow and are robbed all the time. Every
// fiber draws its actions from a generator seeded with the round and its number: yield, sleep, spawn, join a child,
// pass values through channels, ask a service and wait for the answer, count under mutexes. Plain threads spawn fibers
// and send values as well, and another one lists all fibers. All blocking actions come to an end by construction:
// somebody drains every channel, fibers join only their own children, and no fiber holds two mutexes. Some rounds are
// stopped half-way instead; then everything must be unwound.
//
//   bazel test //tests/runtime:stress_test --test_arg=--seed=123      one particular run, as far as the machine's
//   timing allows bazel test //tests/runtime:stress_soak_test                        the same body for longer
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"
#include "tests/testing/take_flag.h"

namespace fiberscope {
namespace {

uint64_t g_seed = 0;  // 0: of the clock
int g_rounds = 12;
int g_fibers = 1500;  // per round; ThreadSanitizer of gcc 12 ends at 8,128 alive
int g_steps = 12;     // per fiber

constexpr int kChannels = 4;
constexpr int kMutexes = 3;
constexpr int kForeignThreads = 2;

struct Question {
  uint64_t value = 0;
  std::shared_ptr<Channel<uint64_t>> answer;
};

uint64_t Answer(uint64_t value) { return value * 0x9e3779b97f4a7c15u + 1; }

class World {
 public:
  World(Scheduler& scheduler, uint64_t seed) : scheduler_(scheduler), seed_(seed) {
    for (int i = 0; i < kChannels; ++i)
      channels_.push_back(std::make_unique<Channel<uint64_t>>(static_cast<size_t>(i)));
  }

  // Fibers that serve the others, until their channels are closed.
  void StartServices() {
    for (const auto& channel : channels_) {
      services_.push_back(scheduler_.Spawn([this, &channel = *channel] {
        while (const std::optional<uint64_t> value = channel.Receive()) received_ += *value;
      }));
    }
    for (int i = 0; i < 2; ++i) {
      services_.push_back(scheduler_.Spawn([this] {
        while (std::optional<Question> question = questions_.Receive()) {
          question->answer->Send(Answer(question->value));
        }
      }));
    }
  }

  // False: enough fibers were made.
  bool SpawnOne(std::vector<Fiber>* children) {
    const int number = spawned_.fetch_add(1);
    if (number >= g_fibers) return false;
    group_.Add(1);
    const std::string name = std::to_string(number);
    absl::StatusOr<Fiber> fiber = scheduler_.TrySpawn(
        // Owned by the function: done when it is destroyed, even if it never ran.
        [this, number, done = std::unique_ptr<WaitGroup, Done>(&group_)] { Live(number); },
        {.name = name, .labels = Labels({{"number", name}})});
    if (!fiber.ok()) return false;
    if (children != nullptr) children->push_back(*fiber);
    return true;
  }

  void Send(std::minstd_rand& random) {
    const uint64_t value = random();
    if (channels_[random() % kChannels]->Send(value)) sent_ += value;
  }

  void AwaitAll() {
    group_.Wait();
    for (const auto& channel : channels_) channel->Close();
    questions_.Close();
    for (const Fiber& service : services_) service.Join();
  }

  int finished() const { return finished_; }

  void ExpectNothingLost() const {
    EXPECT_EQ(finished_, g_fibers);
    EXPECT_EQ(sent_, received_);
    EXPECT_EQ(counted_, counters_[0].first + counters_[1].first + counters_[2].first);
  }
  void ExpectNothingTorn() const {
    EXPECT_EQ(group_.count(), 0);
    for (const auto& [one, two] : counters_) EXPECT_EQ(one, two);
    for (const Mutex& mutex : mutexes_) EXPECT_FALSE(mutex.owner());
  }

 private:
  struct Done {
    void operator()(WaitGroup* group) const { group->Done(); }
  };

  void Live(int number) {
    std::minstd_rand random(static_cast<uint32_t>(seed_ ^ (static_cast<uint64_t>(number) * 0x9e3779b9u)) | 1);
    std::array<uint32_t, 32> canary;
    std::ranges::generate(canary, random);
    const std::array<uint32_t, 32> same = canary;
    std::vector<Fiber> children;
    for (int step = 0; step < g_steps; ++step) {
      Act(random, children);
      // Nobody else used our stack, our name or our labels.
      ASSERT_TRUE(std::equal(canary.begin(), canary.end(), static_cast<const volatile uint32_t*>(same.data())));
      ASSERT_EQ(this_fiber::labels().Get("number"), std::to_string(number));
      ASSERT_EQ(this_fiber::name(), std::to_string(number));
    }
    ++finished_;
  }

  void Act(std::minstd_rand& random, std::vector<Fiber>& children) {
    switch (random() % 10) {
      case 0:
      case 1:
        this_fiber::Yield();
        break;
      case 2:
        this_fiber::SleepFor(std::chrono::microseconds(random() % 200));
        break;
      case 3:
      case 4:
        SpawnOne(&children);
        break;
      case 5:
        if (children.empty()) break;
        children.back().Join();
        EXPECT_EQ(children.back().state(), FiberState::kDead);
        children.pop_back();
        break;
      case 6:
        Send(random);
        break;
      case 7:
        if (const std::optional<uint64_t> value = channels_[random() % kChannels]->TryReceive()) received_ += *value;
        break;
      case 8:
        Ask(random);
        break;
      case 9:
        Count(random);
        break;
    }
  }

  void Ask(std::minstd_rand& random) {
    const Question question{random(), std::make_shared<Channel<uint64_t>>(random() % 2)};
    if (!questions_.Send(question)) return;
    EXPECT_EQ(question.answer->Receive(), Answer(question.value));
  }

  void Count(std::minstd_rand& random) {
    const size_t which = random() % kMutexes;
    std::unique_lock lock(mutexes_[which], std::defer_lock);
    if (random() % 4 != 0) {
      lock.lock();
    } else if (!lock.try_lock()) {
      return;
    }
    auto& [one, two] = counters_[which];
    // Both, even if we are unwound in between.
    const struct Both {
      uint64_t& two;
      ~Both() { ++two; }
    } both{two};
    ++one;
    ++counted_;
    if (random() % 3 == 0) this_fiber::Yield();
    if (random() % 16 == 0) Ask(random);
  }

  Scheduler& scheduler_;
  const uint64_t seed_;
  std::vector<std::unique_ptr<Channel<uint64_t>>> channels_;
  Channel<Question> questions_;
  std::array<Mutex, kMutexes> mutexes_;
  std::array<std::pair<uint64_t, uint64_t>, kMutexes> counters_{};  // each guarded by the mutex of the same index
  std::atomic<uint64_t> counted_{0};
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> received_{0};
  std::atomic<int> spawned_{0};
  std::atomic<int> finished_{0};
  WaitGroup group_;
  std::vector<Fiber> services_;
};

// Lists all fibers until told to stop, and looks at what it gets.
class Lister {
 public:
  Lister() : thread_([this] { Run(); }) {}
  ~Lister() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Run() {
    std::vector<uint64_t> ids;
    while (!stop_) {
      ids.clear();
      ForEachFiber({}, [&](const FiberSnapshot& snapshot) {
        ids.push_back(snapshot.id.value);
        if (snapshot.state == FiberState::kWaiting) {
          EXPECT_TRUE(snapshot.stack_available);
          EXPECT_FALSE(snapshot.stack_truncated);
          EXPECT_NE(snapshot.wait_reason, WaitReason::kNone);
        }
        EXPECT_TRUE(snapshot.labels.empty() || snapshot.labels[0].value == snapshot.name) << snapshot.name;
        return true;
      });
      std::ranges::sort(ids);
      EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
      sched_yield();
    }
  }

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

void Round(uint64_t seed, int processors, bool stop_half_way) {
  SCOPED_TRACE("seed " + std::to_string(seed) + ", processors " + std::to_string(processors));
  Lister lister;
  Scheduler scheduler({.processors = processors, .run_queue_slots = 2});
  World world(scheduler, seed);
  world.StartServices();
  std::atomic<bool> leave{false};
  std::vector<std::thread> foreigners;
  for (int t = 0; t < kForeignThreads; ++t) {
    foreigners.emplace_back([&, t] {
      std::minstd_rand random(static_cast<uint32_t>(seed + static_cast<uint64_t>(t)) | 1);
      for (int i = 0; i < 2000 && !leave; ++i) {
        if (random() % 2 == 0) {
          world.Send(random);
        } else {
          world.SpawnOne(nullptr);
        }
      }
    });
  }
  if (stop_half_way) {
    while (world.finished() < g_fibers / 4) sched_yield();
    leave = true;
    for (std::thread& foreigner : foreigners) foreigner.join();
    scheduler.Stop();
  } else {
    for (std::thread& foreigner : foreigners) foreigner.join();
    while (world.SpawnOne(nullptr)) {
    }
    world.AwaitAll();
    world.ExpectNothingLost();
    scheduler.Stop();
  }
  world.ExpectNothingTorn();
}

TEST(StressTest, NothingIsLostDoubledTornOrLeft) {
  std::mt19937_64 random(g_seed);
  for (int round = 0; round < g_rounds; ++round) {
    const uint64_t seed = random();
    Round(seed, 1 + round % 4, round % 3 == 2);
    ASSERT_EQ(FiberCount(), 0);
    ForEachFiber({}, [](const FiberSnapshot& snapshot) {
      ADD_FAILURE() << "fiber " << snapshot.id.value << " (" << snapshot.name << ") is left";
      return true;
    });
    if (::testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace fiberscope

int main(int argc, char** argv) {
  using namespace fiberscope;
  using fiberscope::testing::TakeFlag;
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (!TakeFlag(argv[i], "--seed=", g_seed) && !TakeFlag(argv[i], "--rounds=", g_rounds) &&
        !TakeFlag(argv[i], "--fibers=", g_fibers) && !TakeFlag(argv[i], "--steps=", g_steps)) {
      std::fprintf(stderr, "unknown argument %s; there are --seed= --rounds= --fibers= --steps=\n", argv[i]);
      return 2;
    }
  }
  if (g_seed == 0) g_seed = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  std::printf("--seed=%llu --rounds=%d --fibers=%d --steps=%d\n", static_cast<unsigned long long>(g_seed), g_rounds,
              g_fibers, g_steps);
  std::fflush(stdout);
  return RUN_ALL_TESTS();
}
