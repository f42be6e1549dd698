#include "pprof/profile_delta.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/profile_builder.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

using Stack = std::vector<uintptr_t>;
using Values = std::vector<int64_t>;

struct TestSample {
  Stack stack;
  Values values;
  std::vector<SampleLabel> labels = {};
};

class ProfileDeltaTest : public testing::Test {
 protected:
  Profile Make(std::vector<TestSample> samples, int64_t second = 0, bool reversed_mappings = false) {
    std::vector<Mapping> mappings = shop_.Inputs().mappings();
    if (reversed_mappings) std::ranges::reverse(mappings);
    ProfileBuilder builder(shop_.symbolizer(), mappings);
    builder.AddSampleType("alloc_space", "bytes");
    builder.AddSampleType("inuse_space", "bytes");
    builder.SetDefaultSampleType("alloc_space");
    builder.SetPeriod("space", "bytes", 512);
    builder.SetTime(std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::seconds(second)));
    for (const TestSample& sample : samples) builder.AddSample(sample.stack, sample.values, sample.labels);
    return std::move(builder).Build();
  }

  Shop shop_;
};

TEST_F(ProfileDeltaTest, SubtractsWhatHasTheSameStackAndLabels) {
  const Profile before = Make({{{Shop::kTake, Shop::kMain}, {10, 4}}, {{Shop::kMain}, {7, 7}}});
  const Profile after = Make({{{Shop::kMain}, {7, 7}}, {{Shop::kWorker}, {1, 0}}, {{Shop::kTake, Shop::kMain}, {30, 5}}}, 9);
  const Profile delta = ProfileDelta(before, after);
  ASSERT_THAT(delta.samples, SizeIs(2));  // nothing of main
  EXPECT_THAT(delta.samples[0].values, ElementsAre(1, 0));
  EXPECT_THAT(delta.samples[1].values, ElementsAre(20, 1));
  ASSERT_THAT(delta.samples[1].stack, SizeIs(2));
  EXPECT_EQ(delta.Get(delta.samples[1].stack[0]).address, Shop::kTake - 1);
  EXPECT_EQ(delta.Get(delta.samples[1].stack[1]).address, Shop::kMain - 1);
  EXPECT_EQ(delta.time, after.time);
  EXPECT_EQ(delta.duration, std::chrono::seconds(9));
  EXPECT_EQ(delta.Text(delta.default_sample_type), "alloc_space");
  EXPECT_EQ(delta.Text(delta.period_type.type), "space");
  EXPECT_EQ(delta.period, 512);
  EXPECT_THAT(delta.comments, IsEmpty());
}

TEST_F(ProfileDeltaTest, LabelsTellSamplesApart) {
  const SampleLabel eight{.key = "bytes", .number = 8};
  const SampleLabel nine{.key = "bytes", .number = 9};
  const SampleLabel text{.key = "bytes", .text = "8"};
  const SampleLabel unit{.key = "bytes", .number = 8, .unit = "kilobytes"};
  const Profile before = Make({{{Shop::kMain}, {1, 1}, {eight}}, {{Shop::kMain}, {1, 1}, {nine}}});
  const Profile after = Make({{{Shop::kMain}, {5, 5}, {nine}},
                              {{Shop::kMain}, {1, 1}, {eight}},
                              {{Shop::kMain}, {2, 2}, {text}},
                              {{Shop::kMain}, {3, 3}, {unit}}});
  const Profile delta = ProfileDelta(before, after);
  ASSERT_THAT(delta.samples, SizeIs(3));
  EXPECT_THAT(delta.samples[0].values, ElementsAre(4, 4));
  EXPECT_EQ(delta.samples[0].labels[0].number, 9);
  EXPECT_THAT(delta.samples[1].values, ElementsAre(2, 2));
  EXPECT_EQ(delta.Text(delta.samples[1].labels[0].text), "8");
  EXPECT_THAT(delta.samples[2].values, ElementsAre(3, 3));
  EXPECT_EQ(delta.Text(delta.samples[2].labels[0].unit), "kilobytes");
}

TEST_F(ProfileDeltaTest, SaysThatSomeIsLessThanBefore) {
  const Profile before = Make({{{Shop::kProcess, Shop::kMain}, {10, 10}}, {{Shop::kTake}, {3, 3}}});
  const Profile after = Make({{{Shop::kTake}, {3, 1}}});
  const Profile delta = ProfileDelta(before, after);
  ASSERT_THAT(delta.samples, SizeIs(2));
  EXPECT_THAT(delta.samples[0].values, ElementsAre(0, -2));
  EXPECT_THAT(delta.samples[1].values, ElementsAre(-10, -10));
  // Only `before` knows its functions.
  const Profile::Location& process = delta.Get(delta.samples[1].stack[0]);
  EXPECT_EQ(delta.Text(delta.Get(process.lines[0].function).system_name).find("_ZN4shop"), 0u);
  ASSERT_THAT(delta.comments, SizeIs(1));
  EXPECT_EQ(delta.Text(delta.comments[0]).find("Negative values"), 0u);
}

TEST_F(ProfileDeltaTest, KeepsNothingThatNoSampleNeedsButTheMappings) {
  const Profile before = Make({{{Shop::kProcess, Shop::kMain}, {1, 1}}}, 0, /*reversed_mappings=*/true);
  const Profile after = Make({{{Shop::kProcess, Shop::kMain}, {1, 1}}, {{Shop::kLibrary}, {1, 1}}});
  const Profile delta = ProfileDelta(before, after);
  EXPECT_EQ(delta.locations.size(), 1u);
  EXPECT_EQ(delta.functions.size(), 1u);
  EXPECT_EQ(delta.mappings.size(), after.mappings.size());
  for (size_t i = 0; i < after.mappings.size(); ++i) EXPECT_EQ(delta.mappings[i].start, after.mappings[i].start);
  EXPECT_EQ(delta.Get(delta.locations[0].mapping).start, after.Get(after.locations.back().mapping).start);
}

TEST_F(ProfileDeltaTest, OfNothingIsNothing) {
  const Profile delta = ProfileDelta(Make({}), Make({}));
  EXPECT_THAT(delta.samples, IsEmpty());
  EXPECT_THAT(delta.sample_types, SizeIs(2));
  EXPECT_EQ(ProfileDelta(Make({{{Shop::kMain}, {1, 1}}}), Make({{{Shop::kMain}, {1, 1}}})).samples.size(), 0u);
}

}  // namespace
}  // namespace fiberscope::pprof
