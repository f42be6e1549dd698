#include "pprof/sources/contention_source.h"

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "tests/testing/shop.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class ContentionSourceTest : public testing::Test {
 protected:
  ContentionSource Make(Contention kind) {
    return {kind,
            shop_.symbolizer(),
            {.read = [this] { return snapshot_; },
             .stack_count = [this] { return static_cast<int64_t>(snapshot_.records.size()); },
             .sampling_period = [] { return 5; },
             .mappings = shop_.Inputs().mappings,
             .now = shop_.Inputs().now}};
  }
  std::string Text(Contention kind) {
    StringSink sink;
    EXPECT_TRUE(Make(kind).WriteText(1, sink).ok());
    return sink.text();
  }

  Shop shop_;
  // In Receive, called by Worker, on a fiber; by way of Park, and twice with other addresses of ours.
  ContentionSnapshot snapshot_{
      .records = {{{Shop::kSwitch, Shop::kPark, Shop::kReceive, Shop::kWorker, Shop::kRunWorker, Shop::kFiberMain,
                    Shop::kTrampoline}, 2, 3'000},
                  {{Shop::kPark, Shop::kReceive, Shop::kWorker, Shop::kTrampoline}, 1, 500},
                  {{Shop::kReceive, Shop::kMain}, 4, 10'000}},
      .events = 7,
      .stood_for = 7,
      .lost = 0};
};

TEST_F(ContentionSourceTest, SamplesBeginWithThePrimitiveAndEndWithTheUsersFunction) {
  const absl::StatusOr<Profile> profile = Make(Contention::kBlock).Collect();
  ASSERT_TRUE(profile.ok());
  ASSERT_THAT(profile->samples, SizeIs(2));
  EXPECT_THAT(profile->samples[0].values, ElementsAre(4, 10'000));
  EXPECT_THAT(profile->samples[1].values, ElementsAre(3, 3'500));
  ASSERT_THAT(profile->samples[1].stack, SizeIs(2));
  EXPECT_EQ(profile->Get(profile->samples[1].stack[0]).address, Shop::kReceive - 1);
  EXPECT_EQ(profile->Get(profile->samples[1].stack[1]).address, Shop::kWorker - 1);
  ASSERT_THAT(profile->sample_types, SizeIs(2));
  EXPECT_EQ(profile->Text(profile->sample_types[0].type) + "/" + profile->Text(profile->sample_types[0].unit),
            "contentions/count");
  EXPECT_EQ(profile->Text(profile->sample_types[1].type) + "/" + profile->Text(profile->sample_types[1].unit),
            "delay/nanoseconds");
  EXPECT_EQ(profile->Text(profile->period_type.type) + "/" + profile->Text(profile->period_type.unit), "contentions/count");
  EXPECT_EQ(profile->period, 1);
  EXPECT_EQ(profile->time, shop_.Inputs().now());
  EXPECT_THAT(profile->comments, SizeIs(0));
}

TEST_F(ContentionSourceTest, TextIsGos) {
  const std::string block = Text(Contention::kBlock);
  EXPECT_EQ(block.find("--- contention:\ncycles/second=1000000000\n10000 4 @ 0x405111 0x401019\n#\t0x405110\tfiberscope::"), 0u)
      << block;
  EXPECT_THAT(block, HasSubstr("\n\n3500 3 @ 0x405111 0x403021\n#\t0x405110\tfiberscope::"));
  EXPECT_EQ(block.substr(block.size() - 2), "\n\n");
  const std::string mutex = Text(Contention::kMutex);
  EXPECT_EQ(mutex.find("--- mutex:\ncycles/second=1000000000\nsampling period=5\n10000 4 @ "), 0u) << mutex;
  snapshot_.records.clear();
  EXPECT_EQ(Text(Contention::kBlock), "--- contention:\ncycles/second=1000000000\n");
}

TEST_F(ContentionSourceTest, SaysWhatWasThinnedOutOrLost) {
  snapshot_.stood_for = 100;
  snapshot_.lost = 3;
  const std::string thinned = "thinned out so as not to slow the process: 7 events, weighted, stand for 100";
  const std::string lost = "too many distinct stacks: 3 events are not in this profile";
  EXPECT_THAT(Text(Contention::kMutex), HasSubstr("\n# " + thinned + "\n# " + lost + "\n"));
  const absl::StatusOr<Profile> profile = Make(Contention::kMutex).Collect();
  ASSERT_THAT(profile->comments, SizeIs(2));
  EXPECT_EQ(profile->Text(profile->comments[0]), thinned);
  EXPECT_EQ(profile->Text(profile->comments[1]), lost);
}

TEST_F(ContentionSourceTest, OursAloneIsShownWhole) {
  snapshot_.records = {{{Shop::kPark, Shop::kReceive}, 1, 1}};
  EXPECT_THAT(Text(Contention::kBlock), HasSubstr("1 1 @ 0x405021 0x405111\n"));
}

TEST_F(ContentionSourceTest, TheLegacyFormEndsWithTheMappings) {
  StringSink sink;
  ASSERT_TRUE(Make(Contention::kMutex).WriteLegacy("400000-500000 r-xp 0 0:0 0 /bin/shop\n", sink).ok());
  EXPECT_EQ(sink.text(),
            "--- contention:\ncycles/second=1000000000\nsampling period=1\n10000 4 @ 0x405111 0x401019\n3500 3 @ 0x405111 "
            "0x403021\n\nMAPPED_LIBRARIES:\n400000-500000 r-xp 0 0:0 0 /bin/shop\n");
}

TEST_F(ContentionSourceTest, StopsWhenTheReaderHasLeft) {
  for (const size_t limit : {0, 45, 60, 80}) {
    LeavingSink sink(limit);
    EXPECT_EQ(Make(Contention::kBlock).WriteText(1, sink).code(), absl::StatusCode::kCancelled) << limit;
    EXPECT_EQ(sink.refusals(), 1) << limit;
    LeavingSink legacy(limit);
    EXPECT_EQ(Make(Contention::kBlock).WriteLegacy("maps", legacy).code(), absl::StatusCode::kCancelled) << limit;
    EXPECT_EQ(legacy.refusals(), 1) << limit;
  }
}

TEST_F(ContentionSourceTest, IsListedLikeGos) {
  EXPECT_EQ(Make(Contention::kBlock).name(), "block");
  EXPECT_EQ(Make(Contention::kBlock).description(), "Stack traces that led to blocking on synchronization primitives");
  EXPECT_EQ(Make(Contention::kMutex).name(), "mutex");
  EXPECT_EQ(Make(Contention::kMutex).description(), "Stack traces of holders of contended mutexes");
  EXPECT_EQ(Make(Contention::kMutex).Count(), 3);
  EXPECT_TRUE(Make(Contention::kMutex).has_delta());
}

}  // namespace
}  // namespace fiberscope::pprof
