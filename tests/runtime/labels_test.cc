#include "runtime/labels.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope {
namespace {

std::string Text(std::span<const Label> pairs) {
  std::string text;
  for (const Label& label : pairs) text += label.key + "=" + label.value + ";";
  return text;
}

TEST(LabelsTest, AreSortedByKeyAndTheLastOfEqualKeysStays) {
  EXPECT_EQ(Text(Labels{{"b", "1"}, {"a", "2"}, {"b", "3"}}.pairs()), "a=2;b=3;");
}

TEST(LabelsTest, WithOverlays) {
  const Labels base{{"route", "/a"}, {"tenant", "x"}};
  const Labels more = base.With({{"route", "/b"}, {"id", "7"}});
  EXPECT_EQ(Text(more.pairs()), "id=7;route=/b;tenant=x;");
  EXPECT_EQ(Text(base.pairs()), "route=/a;tenant=x;");
  EXPECT_EQ(more.Get("id"), "7");
  EXPECT_EQ(more.Get("nothing"), "");
}

TEST(LabelsTest, EmptyLabelsAllocateNothingAndEqualEachOther) {
  EXPECT_TRUE(Labels().empty());
  EXPECT_TRUE(Labels{}.With({}).empty());
  EXPECT_EQ(Labels(), Labels{});
  EXPECT_NE(Labels(), (Labels{{"a", "b"}}));
}

TEST(LabelsTest, CopiesShareAndCompareByValue) {
  const Labels a{{"k", "v"}};
  const Labels b = a;
  EXPECT_EQ(a.pairs().data(), b.pairs().data());
  EXPECT_EQ(a, (Labels{{"k", "v"}}));
  Labels c = a;
  c = Labels{{"k", "w"}};
  EXPECT_EQ(a.Get("k"), "v");
  EXPECT_EQ(c.Get("k"), "w");
}

TEST(LabelsTest, KeysAndValuesMayHoldAnyBytes) {
  const std::string bytes("\0\n\"\xff", 4);
  EXPECT_EQ((Labels{{bytes, bytes}}.Get(bytes)), bytes);
}

// Goal: pairs that a scope has met stay readable until it ends, though their last owner is gone. AddressSanitizer judges.
TEST(LabelsTest, AReadScopeKeepsDroppedLabelsAlive) {
  const Label* pairs;
  {
    const LabelsReadScope outer;
    {
      const LabelsReadScope inner;
      Labels owner{{"k", std::string(100, 'v')}};
      pairs = owner.pairs().data();
      owner = Labels();
      EXPECT_EQ(pairs->value.size(), 100u);
    }
    EXPECT_EQ(pairs->value.size(), 100u);
  }
}

// Method: one thread replaces the labels behind a shared pointer as a fiber does with its control block; others read them inside
// scopes as dumps do. AddressSanitizer and ThreadSanitizer judge.
TEST(LabelsTest, ReadersNeverMeetFreedPairs) {
  std::atomic<internal::LabelsRep*> published{nullptr};
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  std::atomic<int> reads{0};
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      while (!stop) {
        const LabelsReadScope scope;
        for (const Label& label : Labels::PairsOf(published.load(std::memory_order_acquire))) {
          EXPECT_EQ(label.key, "key");
          EXPECT_EQ(label.value.size(), 50u);
          ++reads;
        }
      }
    });
  }
  for (int i = 0; i < 20'000 || reads < 100; ++i) {
    Labels next{{"key", std::string(50, static_cast<char>('a' + i % 26))}};
    const Labels old = Labels::Adopt(published.exchange(std::move(next).Release(), std::memory_order_acq_rel));
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  const Labels last = Labels::Adopt(published.exchange(nullptr));
}

}  // namespace
}  // namespace fiberscope
