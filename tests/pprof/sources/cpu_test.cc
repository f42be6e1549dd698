#include "pprof/sources/cpu.h"

#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "proto/profile.pb.h"
#include "tests/pprof/encode/gunzip.h"
#include "tests/testing/shop.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class CpuTest : public testing::Test {
 protected:
  CpuProfile sampled_{
      .samples = {{{Shop::kTake, Shop::kWorker, Shop::kRunWorker, Shop::kFiberMain, Shop::kTrampoline}, {{"route", "/orders"}}, 30},
                  {{Shop::kMain}, {}, 10}},
      .start = std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::seconds(1'700'000'000)),
      .duration = std::chrono::seconds(2),
      .period = std::chrono::milliseconds(10),
      .count = 40,
      .signals = 40,
      .lost = 0,
      .truncated = 0,
      .threads = 3,
      .refused_threads = 0,
      .process_cpu = std::chrono::milliseconds(400),
      .unseen = std::chrono::nanoseconds(0)};

  std::vector<std::string> Comments() {
    const Profile profile = MakeCpuProfile(sampled_, shop_.symbolizer(), shop_.Inputs().mappings());
    std::vector<std::string> comments;
    for (const Profile::StringId id : profile.comments) comments.push_back(profile.Text(id));
    return comments;
  }

  Shop shop_;
};

TEST_F(CpuTest, IsLikeGos) {
  const Profile profile = MakeCpuProfile(sampled_, shop_.symbolizer(), shop_.Inputs().mappings());
  ASSERT_THAT(profile.sample_types, SizeIs(2));
  EXPECT_EQ(profile.Text(profile.sample_types[0].type) + "/" + profile.Text(profile.sample_types[0].unit), "samples/count");
  EXPECT_EQ(profile.Text(profile.sample_types[1].type) + "/" + profile.Text(profile.sample_types[1].unit), "cpu/nanoseconds");
  EXPECT_EQ(profile.Text(profile.period_type.type) + "/" + profile.Text(profile.period_type.unit), "cpu/nanoseconds");
  EXPECT_EQ(profile.period, 10'000'000);
  EXPECT_EQ(profile.time, sampled_.start);
  EXPECT_EQ(profile.duration, sampled_.duration);
  ASSERT_THAT(profile.samples, SizeIs(2));
  EXPECT_THAT(profile.samples[0].values, ElementsAre(30, 300'000'000));
  ASSERT_THAT(profile.samples[0].stack, SizeIs(2));  // without what lies below the user's function
  EXPECT_EQ(profile.Get(profile.samples[0].stack[0]).address, Shop::kTake - 1);  // the interrupted pc itself
  ASSERT_THAT(profile.samples[0].labels, SizeIs(1));
  EXPECT_EQ(profile.Text(profile.samples[0].labels[0].text), "/orders");
  EXPECT_THAT(profile.samples[1].labels, IsEmpty());
  EXPECT_THAT(Comments(), IsEmpty());
}

TEST_F(CpuTest, SaysWhatOneMightNotExpect) {
  sampled_.signals = 10;
  EXPECT_THAT(Comments(), ElementsAre("100 samples per second of CPU time were asked for, the kernel's tick allowed 25: a sample "
                                      "stands for up to 4 periods"));
  sampled_.signals = 40;
  sampled_.lost = 7;
  sampled_.truncated = 3;
  sampled_.refused_threads = 2;
  EXPECT_THAT(Comments(), ElementsAre("7 samples are not in this profile: there was no room for them",
                                      "of 3 samples outer frames are missing",
                                      "2 threads are not in this profile: no timers for them (RLIMIT_SIGPENDING)"));
  sampled_.lost = sampled_.truncated = sampled_.refused_threads = 0;
  sampled_.process_cpu = std::chrono::milliseconds(800);
  EXPECT_THAT(Comments(),
              ElementsAre("the samples stand for 0.40 s of the 0.80 s of CPU time that the process has used: threads that end "
                          "within 100 ms, those that block SIGPROF, and bursts that end before the kernel's tick are not seen"));
}

TEST_F(CpuTest, AnEmptyProfileIsOne) {
  sampled_ = {};
  sampled_.period = std::chrono::milliseconds(10);
  const Profile profile = MakeCpuProfile(sampled_, shop_.symbolizer(), shop_.Inputs().mappings());
  EXPECT_THAT(profile.samples, IsEmpty());
  EXPECT_THAT(profile.sample_types, SizeIs(2));
  StringSink sink;
  EXPECT_TRUE(WriteLegacyCpuProfile(sampled_, "", sink).ok());
  EXPECT_EQ(sink.text().size(), 8u * 8);
}

TEST_F(CpuTest, TheLegacyFormIsOfWords) {
  StringSink sink;
  ASSERT_TRUE(WriteLegacyCpuProfile(sampled_, "maps\n", sink).ok());
  const std::vector<uint64_t> expected = {
      0,  3, 0, 10'000, 0,  // header
      30, 5, Shop::kTake - 1, Shop::kWorker, Shop::kRunWorker, Shop::kFiberMain, Shop::kTrampoline,
      10, 1, Shop::kMain - 1,
      0,  1, 0};
  ASSERT_EQ(sink.text().size(), expected.size() * 8 + 5);
  std::vector<uint64_t> words(expected.size());
  std::memcpy(words.data(), sink.text().data(), words.size() * 8);
  EXPECT_EQ(words, expected);
  EXPECT_EQ(sink.text().substr(words.size() * 8), "maps\n");
  for (const size_t limit : {0, 40, 100, 120, 200}) {
    LeavingSink leaving(limit);
    EXPECT_EQ(WriteLegacyCpuProfile(sampled_, std::string(100, 'm'), leaving).code(), absl::StatusCode::kCancelled) << limit;
    EXPECT_EQ(leaving.refusals(), 1) << limit;
  }
}

TEST(CpuProfileTest, IsTakenFromCodeAsInGo) {
  const std::unique_ptr<Symbolizer> symbolizer = MakeProcessSymbolizer();
  StringSink sink;
  EXPECT_EQ(StopCpuProfile(*symbolizer, sink).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(StartCpuProfile({.hz = 500}).ok());
  EXPECT_EQ(StartCpuProfile().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(CpuProfiler::Start().status().code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(StopCpuProfile(*symbolizer, sink).ok());
  perftools::profiles::Profile profile;
  ASSERT_TRUE(profile.ParseFromString(Gunzip(sink.text()).value_or("")));
  EXPECT_EQ(profile.period(), 2'000'000);
  EXPECT_EQ(StopCpuProfile(*symbolizer, sink).code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace fiberscope::pprof
