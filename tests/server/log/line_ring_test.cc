#include "server/log/line_ring.h"

#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::log {
namespace {

// Removes the oldest line; "-" if there is none.
std::string Take(LineRing& ring) {
  const std::optional<LineRing::Entry> entry = ring.Front();
  if (!entry.has_value()) return "-";
  const std::string text(entry->text);
  ring.Pop();
  return text;
}

TEST(LineRingTest, LinesComeOutAsTheyWentIn) {
  LineRing ring(256);
  EXPECT_EQ(Take(ring), "-");
  EXPECT_TRUE(ring.Put(Level::kDebug, "one"));
  EXPECT_TRUE(ring.Put(Level::kError, ""));
  EXPECT_TRUE(ring.Put(Level::kInfo, "12345678"));
  EXPECT_EQ(ring.Front()->level, Level::kDebug);
  EXPECT_EQ(Take(ring), "one");
  EXPECT_EQ(ring.Front()->level, Level::kError);
  EXPECT_EQ(Take(ring), "");
  EXPECT_EQ(ring.Front()->level, Level::kInfo);
  EXPECT_EQ(Take(ring), "12345678");
  EXPECT_EQ(Take(ring), "-");
  EXPECT_EQ(ring.put(), ring.removed());
}

TEST(LineRingTest, WhatDoesNotFitIsRefusedAndDisturbsNothing) {
  LineRing ring(64);
  EXPECT_EQ(ring.capacity(), 64);
  EXPECT_FALSE(ring.Put(Level::kInfo, std::string(57, 'x')));  // never will
  EXPECT_TRUE(ring.Put(Level::kInfo, std::string(24, 'a')));
  EXPECT_TRUE(ring.Put(Level::kInfo, std::string(24, 'b')));
  EXPECT_FALSE(ring.Put(Level::kInfo, ""));
  EXPECT_EQ(Take(ring), std::string(24, 'a'));
  EXPECT_TRUE(ring.Put(Level::kInfo, std::string(24, 'c')));
  EXPECT_EQ(Take(ring), std::string(24, 'b'));
  EXPECT_EQ(Take(ring), std::string(24, 'c'));
  // In an empty ring half of it is always free in one piece.
  EXPECT_TRUE(ring.Put(Level::kInfo, std::string(24, 'd')));
  EXPECT_EQ(Take(ring), std::string(24, 'd'));
}

// Property: beside a queue of the standard library, whatever the lengths; the memory's end falls into every place.
TEST(LineRingTest, BehavesAsAQueue) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  LineRing ring(512);
  std::vector<std::string> queue;
  size_t taken = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (random() % 2 == 0) {
      std::string text(random() % 120, static_cast<char>('a' + i % 26));
      if (ring.Put(Level::kInfo, text)) queue.push_back(std::move(text));
    } else if (taken < queue.size()) {
      ASSERT_EQ(Take(ring), queue[taken++]);
    } else {
      ASSERT_EQ(Take(ring), "-");
    }
  }
  EXPECT_GT(taken, 10'000);
}

// Goal: no line is lost, torn, or out of its writer's order, with a ring that is nearly always full. Each writer counts its lines,
// and each line repeats its number as often as its length says.
TEST(LineRingTest, ManyWritersAndAReader) {
  constexpr int kWriters = 4;
  constexpr int kLines = 5'000;
  LineRing ring(1024);
  std::atomic<int> running{kWriters};
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kLines; ++i) {
        std::string line;
        for (int n = 0; n <= i % 7; ++n) line += std::to_string(writer) + ":" + std::to_string(i) + ";";
        while (!ring.Put(Level::kInfo, line)) std::this_thread::yield();
      }
      running.fetch_sub(1);
    });
  }
  std::map<int, int> next;
  while (running.load() > 0 || ring.put() != ring.removed()) {
    const std::optional<LineRing::Entry> entry = ring.Front();
    if (!entry.has_value()) {
      std::this_thread::yield();
      continue;
    }
    const std::string line(entry->text);
    ring.Pop();
    const int writer = line[0] - '0';
    const int i = next[writer]++;
    std::string expected;
    for (int n = 0; n <= i % 7; ++n) expected += std::to_string(writer) + ":" + std::to_string(i) + ";";
    ASSERT_EQ(line, expected);
  }
  for (std::thread& writer : writers) writer.join();
  for (int writer = 0; writer < kWriters; ++writer) EXPECT_EQ(next[writer], kLines);
}

}  // namespace
}  // namespace fiberscope::log
