#include "pprof/sources/threadcreate_source.h"

#include <string>

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

class ThreadCreateSourceTest : public testing::Test {
 protected:
  std::string Text(int debug = 1) {
    StringSink sink;
    EXPECT_TRUE(source_.WriteText(debug, sink).ok());
    return sink.text();
  }

  Shop shop_;
  // By main, and by a fiber in Process: twice, once with another address below its own function.
  ThreadCreationSnapshot snapshot_{.records = {{{Shop::kMain}, 1},
                                               {{Shop::kProcess, Shop::kWorker, Shop::kRunWorker, Shop::kTrampoline}, 2},
                                               {{Shop::kProcess, Shop::kWorker, Shop::kTrampoline}, 2}},
                                   .unknown = 3};
  ThreadCreateSource source_{shop_.symbolizer(),
                             {.read = [this] { return snapshot_; },
                              .thread_count = [] { return 8; },
                              .mappings = shop_.Inputs().mappings,
                              .now = shop_.Inputs().now}};
};

TEST_F(ThreadCreateSourceTest, PresentsItselfAsGos) {
  EXPECT_EQ(source_.name(), "threadcreate");
  EXPECT_EQ(source_.description(), "Stack traces that led to the creation of new OS threads");
  EXPECT_EQ(source_.Count(), 8);
  EXPECT_TRUE(source_.has_delta());
}

TEST_F(ThreadCreateSourceTest, SamplesAreThreadsByStackWithTheUnknownOnesWithout) {
  const absl::StatusOr<Profile> profile = source_.Collect();
  ASSERT_TRUE(profile.ok());
  ASSERT_THAT(profile->samples, SizeIs(3));
  EXPECT_THAT(profile->samples[0].values, ElementsAre(4));
  ASSERT_THAT(profile->samples[0].stack, SizeIs(2));
  EXPECT_EQ(profile->Get(profile->samples[0].stack[0]).address, Shop::kProcess - 1);
  EXPECT_EQ(profile->Get(profile->samples[0].stack[1]).address, Shop::kWorker - 1);
  EXPECT_THAT(profile->samples[1].values, ElementsAre(3));
  EXPECT_THAT(profile->samples[1].stack, SizeIs(0));
  EXPECT_THAT(profile->samples[2].values, ElementsAre(1));
  ASSERT_THAT(profile->sample_types, SizeIs(1));
  EXPECT_EQ(profile->Text(profile->sample_types[0].type) + "/" + profile->Text(profile->sample_types[0].unit),
            "threadcreate/count");
  EXPECT_EQ(profile->Text(profile->period_type.type) + "/" + profile->Text(profile->period_type.unit), "threadcreate/count");
  EXPECT_EQ(profile->period, 1);
  EXPECT_EQ(profile->time, shop_.Inputs().now());
  ASSERT_THAT(profile->comments, SizeIs(1));
  EXPECT_EQ(profile->Text(profile->comments[0]),
            "the main thread and others that were not seen being created, without a stack: 3");
}

TEST_F(ThreadCreateSourceTest, TextIsThatOfACountProfile) {
  const std::string text = Text();
  EXPECT_EQ(text.find("threadcreate profile: total 8\n4 @ 0x404031 0x403021\n#\t0x404030\tshop::"), 0u) << text;
  EXPECT_THAT(text, HasSubstr("\n\n3 @ 0x0\n\n1 @ 0x401019\n#\t0x401018\tmain"));
  EXPECT_THAT(text, HasSubstr("\n\n# the main thread and others that were not seen being created, without a stack: 3\n"));
  EXPECT_EQ(Text(2), text);
  snapshot_ = {};
  EXPECT_EQ(Text(), "threadcreate profile: total 0\n");
}

TEST_F(ThreadCreateSourceTest, AReaderThatLeavesEndsTheText) {
  LeavingSink sink(40);
  EXPECT_EQ(source_.WriteText(1, sink).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(sink.refusals(), 1);
}

}  // namespace
}  // namespace fiberscope::pprof
