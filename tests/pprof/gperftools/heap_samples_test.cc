// Against the real tcmalloc, linked shared (heap_samples_test) and from its archive (heap_samples_static_test).
#include "pprof/gperftools/heap_samples.h"

#include <dlfcn.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "runtime/pause_log.h"
#include "runtime/scheduler.h"
#include "runtime/this_fiber.h"
#include "tests/testing/place.h"

namespace fiberscope::pprof {
namespace {

using testing::GoesThrough;

// Allocates at a place of its own.
template <int kPlace>
PLACE void* Allocate(size_t size) {
  void* const memory = std::malloc(size);
  asm volatile("" ::"i"(kPlace), "r"(memory) : "memory");
  return memory;
}

// What the samples from a place stand for, and how many they are.
struct Sums {
  double allocated = 0;  // objects
  double allocated_bytes = 0;
  double inuse = 0;
  double inuse_bytes = 0;
  int64_t samples = 0;
  int64_t live_samples = 0;
};

template <int kPlace>
Sums SumsOf(const HeapSnapshot& snapshot) {
  Sums sums;
  for (const HeapRecord& record : snapshot.records) {
    if (!GoesThrough(record.stack, &Allocate<kPlace>)) continue;
    const double scale =
        record.rate <= 1 ? 1 : 1 / -std::expm1(-static_cast<double>(record.taken) / static_cast<double>(record.rate));
    const auto size = static_cast<double>(record.size);
    const int64_t live = record.allocated - record.freed;
    EXPECT_GE(live, 0);
    sums.samples += record.allocated;
    sums.live_samples += live;
    sums.allocated += scale * static_cast<double>(record.allocated);
    sums.allocated_bytes += scale * size * static_cast<double>(record.allocated);
    sums.inuse += scale * static_cast<double>(live);
    sums.inuse_bytes += scale * size * static_cast<double>(live);
  }
  return sums;
}

HeapSnapshot Read() {
  absl::StatusOr<HeapSnapshot> snapshot = ReadHeapSamples();
  EXPECT_TRUE(snapshot.ok()) << snapshot.status();
  return snapshot.ok() ? *std::move(snapshot) : HeapSnapshot();
}

template <int kPlace>
Sums SumsNow() {
  return SumsOf<kPlace>(Read());
}

// n samples: the estimate is off by 1 / sqrt(n), relatively; five times that.
void ExpectNear(double estimate, double truth, int64_t samples, const char* what) {
  ASSERT_GT(samples, 25) << what;
  EXPECT_NEAR(estimate / truth, 1, 5 / std::sqrt(static_cast<double>(samples))) << what << ", " << samples << " samples";
}

class HeapSamplesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Off first: the change takes effect on this thread at once only from there.
    ASSERT_TRUE(SetHeapSampleRate(0).ok());
    const absl::Status on = SetHeapSampleRate(16 * 1024);
    ASSERT_TRUE(on.ok()) << on;
  }
};

TEST_F(HeapSamplesTest, KnowsWhatWasAllocatedAndWhatIsLeft) {
  std::vector<void*> kept;
  for (int i = 0; i < 40'000; ++i) {
    void* const memory = Allocate<1>(256);
    i % 4 == 0 ? kept.push_back(memory) : std::free(memory);
  }
  const Sums sums = SumsNow<1>();
  ExpectNear(sums.allocated, 40'000, sums.samples, "objects");
  ExpectNear(sums.allocated_bytes, 40'000 * 256, sums.samples, "bytes");
  ExpectNear(sums.inuse, 10'000, sums.live_samples, "objects in use");
  ExpectNear(sums.inuse_bytes, 10'000 * 256, sums.live_samples, "bytes in use");
  for (void* const memory : kept) std::free(memory);
  const Sums after = SumsNow<1>();
  EXPECT_EQ(after.live_samples, 0);
  EXPECT_EQ(after.samples, sums.samples);
  EXPECT_EQ(Read().lost, 0);
}

TEST_F(HeapSamplesTest, TellsSizesApart) {
  std::vector<void*> kept;
  for (int i = 0; i < 3'000; ++i) kept.push_back(Allocate<2>(i % 2 == 0 ? 1'000 : 30'000));
  int64_t small = 0;
  int64_t large = 0;
  for (const HeapRecord& record : Read().records) {
    if (!GoesThrough(record.stack, &Allocate<2>)) continue;
    ASSERT_TRUE(record.size == 1'000 || record.size == 30'000) << record.size;
    EXPECT_GE(record.taken, record.size);
    EXPECT_EQ(record.rate, 16 * 1024);
    (record.size == 1'000 ? small : large) += record.allocated;
  }
  // 1,500 of each, sampled with probability 1 - exp(-1024 / 16384) and 1 - exp(-32768 / 16384), or a little less.
  EXPECT_NEAR(static_cast<double>(small), 91, 5 * std::sqrt(91));
  EXPECT_NEAR(static_cast<double>(large), 1'297, 5 * std::sqrt(1'297 * 0.14) + 40);
  for (void* const memory : kept) std::free(memory);
}

// The other allocating functions come the same way.
TEST_F(HeapSamplesTest, SeesEveryWayToAllocate) {
  ASSERT_TRUE(SetHeapSampleRate(1).ok());
  std::free(std::malloc(1 << 20));  // more than the distance that was drawn at the old rate, but for e^-64
  const auto count = [](int64_t size) {
    int64_t live = 0;
    for (const HeapRecord& record : Read().records) live += record.size == size ? record.allocated - record.freed : 0;
    return live;
  };
  void* volatile memory = std::malloc(100'001);
  EXPECT_EQ(count(100'001), 1);
  memory = std::realloc(memory, 300'003);
  EXPECT_EQ(count(100'001), 0);
  EXPECT_EQ(count(300'003), 1);
  std::free(memory);
  memory = std::calloc(1, 100'005);
  EXPECT_EQ(count(100'005), 1);
  std::free(memory);
  memory = ::operator new(100'007);
  EXPECT_EQ(count(100'007), 1);
  ::operator delete(memory);
  memory = new char[100'009];
  EXPECT_EQ(count(100'009), 1);
  delete[] static_cast<char*>(memory);
  EXPECT_EQ(count(100'009), 0);
}

TEST_F(HeapSamplesTest, OffRecordsNothingMore) {
  ASSERT_TRUE(SetHeapSampleRate(0).ok());
  EXPECT_EQ(HeapSampleRate(), 0);
  std::free(std::malloc(1 << 20));  // what was drawn before
  const Sums before = SumsNow<3>();
  for (int i = 0; i < 10'000; ++i) std::free(Allocate<3>(1'000));
  EXPECT_EQ(SumsNow<3>().samples, before.samples);
  EXPECT_EQ(SetHeapSampleRate(-1).code(), absl::StatusCode::kInvalidArgument);
}

template <int kDepth>
PLACE void* Deep(size_t size) {
  void* memory = nullptr;
  if constexpr (kDepth == 0) {
    memory = Allocate<4>(size);
  } else {
    memory = Deep<kDepth - 1>(size);
  }
  asm volatile("" ::"i"(kDepth) : "memory");
  return memory;
}

// tcmalloc itself keeps 31 frames.
TEST_F(HeapSamplesTest, DeepStacksAreWhole) {
  for (int i = 0; i < 1'000; ++i) std::free(Deep<60>(1'000));
  int64_t seen = 0;
  for (const HeapRecord& record : Read().records) {
    if (!GoesThrough(record.stack, &Allocate<4>)) continue;
    ++seen;
    EXPECT_GT(record.stack.size(), 61u);
    EXPECT_TRUE(GoesThrough(record.stack, &Deep<60>));
  }
  EXPECT_GT(seen, 0);
}

TEST_F(HeapSamplesTest, FibersThatMigrateHaveTheirStacks) {
  std::atomic<int64_t> bytes{0};
  {
    Scheduler scheduler({.processors = 2});
    std::vector<Fiber> fibers;
    for (int f = 0; f < 8; ++f) {
      fibers.push_back(scheduler.Spawn([&bytes] {
        for (int i = 0; i < 2'000; ++i) {
          void* const memory = Allocate<5>(512);
          bytes += 512;
          this_fiber::Yield();
          std::free(memory);
        }
      }));
    }
    for (Fiber& fiber : fibers) fiber.Join();
  }
  const Sums sums = SumsNow<5>();
  ExpectNear(sums.allocated_bytes, static_cast<double>(bytes), sums.samples, "bytes");
  EXPECT_EQ(sums.live_samples, 0);
}

TEST_F(HeapSamplesTest, IsTheTruthAfterTenMillionAllocationsOfEightThreads) {
  ASSERT_TRUE(SetHeapSampleRate(64 * 1024).ok());
  constexpr int kThreads = 8;
  constexpr int kAllocations = 10'000'000 / kThreads;
  const Sums before = SumsNow<6>();
  std::vector<std::thread> threads;
  std::vector<std::vector<void*>> kept(kThreads);
  std::atomic<bool> done{false};
  // Somebody reads all the while; totals never go down.
  std::thread reader([&done] {
    Sums last;
    while (!done) {
      const Sums now = SumsNow<6>();
      EXPECT_GE(now.samples, last.samples);
      EXPECT_GE(now.samples - now.live_samples, last.samples - last.live_samples);
      last = now;
    }
  });
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&kept, t] {
      for (int i = 0; i < kAllocations; ++i) {
        void* const memory = Allocate<6>(static_cast<size_t>(16 + i % 13 * 16));  // 112 on average
        i % 100 == 0 ? kept[static_cast<size_t>(t)].push_back(memory) : std::free(memory);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  reader.join();
  const Sums sums = SumsNow<6>();
  const int64_t samples = sums.samples - before.samples;
  ExpectNear(sums.allocated_bytes - before.allocated_bytes, 10e6 * 112, samples, "bytes");
  ExpectNear(sums.allocated - before.allocated, 10e6, samples, "objects");
  ExpectNear(sums.inuse_bytes, 1e5 * 112, sums.live_samples, "bytes in use");
  for (const std::vector<void*>& blocks : kept) {
    for (void* const memory : blocks) std::free(memory);
  }
  EXPECT_EQ(SumsNow<6>().live_samples, 0);
}

TEST_F(HeapSamplesTest, TheAllocatorsOwnNumbersAreReal) {
  const absl::StatusOr<HeapStats> before = ReadHeapStats();
  ASSERT_TRUE(before.ok());
  void* volatile memory = Allocate<7>(50 << 20);
  const absl::StatusOr<HeapStats> with = ReadHeapStats();
  EXPECT_GE(with->allocated - before->allocated, 50 << 20);
  EXPECT_GE(with->system, with->allocated);
  std::free(memory);
  const absl::StatusOr<HeapStats> freed = ReadHeapStats();
  EXPECT_GE(freed->free + freed->released, 50 << 20);
  const uint64_t pauses = ReadPauses().of(PauseKind::kMemoryRelease).count();
  ReleaseFreeMemory();
  EXPECT_EQ(ReadPauses().of(PauseKind::kMemoryRelease).count(), pauses + 1);
  const absl::StatusOr<HeapStats> released = ReadHeapStats();
  EXPECT_GE(released->released, 50 << 20);
  const absl::StatusOr<std::vector<HeapGrowth>> growth = ReadHeapGrowth();
  ASSERT_TRUE(growth.ok());
  int64_t grown = 0;
  bool found = false;
  for (const HeapGrowth& one : *growth) {
    grown += one.size;
    found = found || (one.size >= 50 << 20 && GoesThrough(one.stack, &Allocate<7>));
  }
  EXPECT_EQ(grown, released->system);
  EXPECT_TRUE(found);
}

// libunwind, which tcmalloc brings, has functions of the same names.
TEST(LinkTest, ExceptionsAreUnwoundByLibgcc) {
  for (const char* const name : {"_Unwind_RaiseException", "_Unwind_Resume"}) {
    Dl_info info = {};
    void* const function = dlsym(RTLD_DEFAULT, name);
    ASSERT_NE(function, nullptr) << name;
    ASSERT_NE(dladdr(function, &info), 0) << name;
    EXPECT_NE(std::string(info.dli_fname).find("libgcc_s"), std::string::npos) << name << " is of " << info.dli_fname;
  }
  EXPECT_THROW(throw std::runtime_error("thrown"), std::runtime_error);
}

}  // namespace
}  // namespace fiberscope::pprof
