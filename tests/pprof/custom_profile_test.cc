#include "pprof/custom_profile.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "pprof/encode/write_profile.h"
#include "pprof/profile_catalog.h"
#include "pprof/symbolizer.h"
#include "proto/profile.pb.h"
#include "tests/pprof/encode/gunzip.h"
#include "tests/testing/runtime_test.h"

// Somebody's code, to be found by name in what the profile shows.
namespace store {

using fiberscope::pprof::CustomProfile;
using fiberscope::pprof::ProfileKey;

__attribute__((noinline, noipa)) absl::Status Open(CustomProfile& profile, ProfileKey key, size_t skip = 0) {
  absl::Status status = profile.Add(key, skip);
  asm volatile("" ::: "memory");  // no tail call
  return status;
}
__attribute__((noinline, noipa)) absl::Status OpenFirst(CustomProfile& profile, ProfileKey key, size_t skip = 0) {
  absl::Status status = Open(profile, key, skip);
  asm volatile("" ::: "memory");
  return status;
}
__attribute__((noinline, noipa)) absl::Status OpenDeep(CustomProfile& profile, ProfileKey key, int depth) {
  absl::Status status = depth == 0 ? Open(profile, key) : OpenDeep(profile, key, depth - 1);
  asm volatile("" ::: "memory");
  return status;
}

}  // namespace store

namespace fiberscope::pprof {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using store::Open;
using store::OpenDeep;
using store::OpenFirst;

class CustomProfileTest : public ::testing::Test {
 protected:
  // The name of the function that frame `depth` of a sample is in.
  static std::string Caller(const Profile& profile, const Profile::Sample& sample, size_t depth) {
    if (sample.stack.size() <= depth) return "no frame";
    const Profile::Location& location = profile.Get(sample.stack[depth]);
    if (location.lines.empty()) return "no name";
    return ShortFunctionName(profile.Text(profile.Get(location.lines[0].function).name));
  }

  Profile Collected() {
    absl::StatusOr<Profile> profile = files_.Collect();
    EXPECT_TRUE(profile.ok()) << profile.status();
    return *std::move(profile);
  }

  std::unique_ptr<Symbolizer> symbolizer_ = MakeProcessSymbolizer();
  const std::chrono::sys_time<std::chrono::nanoseconds> now_{std::chrono::seconds(1'700'000'000)};
  CustomProfile files_{"example.com/store.files",
                       *symbolizer_,
                       {.mappings = [] { return std::vector<Mapping>(); }, .now = [this] { return now_; }}};
};

TEST_F(CustomProfileTest, SamplesBeginWithTheCallerOfAdd) {
  const int first = 0;
  ASSERT_TRUE(OpenFirst(files_, &first).ok());
  const Profile profile = Collected();
  ASSERT_THAT(profile.samples, SizeIs(1));
  EXPECT_THAT(profile.samples[0].values, ElementsAre(1));
  EXPECT_EQ(Caller(profile, profile.samples[0], 0), "store::Open");
  EXPECT_EQ(Caller(profile, profile.samples[0], 1), "store::OpenFirst");
  EXPECT_TRUE(profile.samples[0].labels.empty());
  ASSERT_THAT(profile.sample_types, SizeIs(1));
  EXPECT_EQ(profile.Text(profile.sample_types[0].type), "example.com/store.files");
  EXPECT_EQ(profile.Text(profile.sample_types[0].unit), "count");
  EXPECT_EQ(profile.Text(profile.period_type.type), "example.com/store.files");
  EXPECT_EQ(profile.period, 1);
  EXPECT_EQ(profile.time, now_);
}

TEST_F(CustomProfileTest, LeavesOutTheFramesAskedFor) {
  ASSERT_TRUE(OpenFirst(files_, 1, 1).ok());
  Profile profile = Collected();
  ASSERT_THAT(profile.samples, SizeIs(1));
  EXPECT_EQ(Caller(profile, profile.samples[0], 0), "store::OpenFirst");
  files_.Remove(1);
  ASSERT_TRUE(OpenFirst(files_, 2, SIZE_MAX).ok());
  profile = Collected();
  ASSERT_THAT(profile.samples, SizeIs(1));
  EXPECT_TRUE(profile.samples[0].stack.empty());
  EXPECT_EQ(files_.Count(), 1);
}

TEST_F(CustomProfileTest, CountsThingsOfOneStackTogether) {
  for (int key = 0; key < 5; ++key) ASSERT_TRUE(OpenFirst(files_, key).ok());
  ASSERT_TRUE(Open(files_, 5).ok());
  EXPECT_EQ(files_.Count(), 6);
  Profile profile = Collected();
  ASSERT_THAT(profile.samples, SizeIs(2));
  EXPECT_THAT(profile.samples[0].values, ElementsAre(5));
  EXPECT_THAT(profile.samples[1].values, ElementsAre(1));
  for (int key : {1, 2, 5}) files_.Remove(key);
  profile = Collected();
  ASSERT_THAT(profile.samples, SizeIs(1));
  EXPECT_THAT(profile.samples[0].values, ElementsAre(3));
  for (int key : {0, 3, 4}) files_.Remove(key);
  EXPECT_THAT(Collected().samples, SizeIs(0));
  EXPECT_EQ(files_.Count(), 0);
}

TEST_F(CustomProfileTest, AKeyIsThereOnce) {
  ASSERT_TRUE(Open(files_, 7).ok());
  const absl::Status again = OpenFirst(files_, 7);
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(again.message()), HasSubstr("profile example.com/store.files: 0x7 was added before"));
  EXPECT_EQ(files_.Count(), 1);
  ASSERT_THAT(Collected().samples, SizeIs(1));
  files_.Remove(8);  // not there
  EXPECT_EQ(files_.Count(), 1);
  files_.Remove(7);
  files_.Remove(7);
  EXPECT_EQ(files_.Count(), 0);
  EXPECT_TRUE(Open(files_, 7).ok());
  EXPECT_TRUE(Open(files_, -7).ok());
  EXPECT_TRUE(Open(files_, nullptr).ok());
  EXPECT_FALSE(Open(files_, uint64_t{0}).ok()) << "the address 0 is the number 0";
}

TEST_F(CustomProfileTest, KeepsTheInnermostFramesOfADeepStack) {
  ASSERT_TRUE(OpenDeep(files_, 1, 300).ok());
  const Profile profile = Collected();
  ASSERT_THAT(profile.samples, SizeIs(1));
  EXPECT_THAT(profile.samples[0].stack, SizeIs(CustomProfile::kMaxFrames));
  EXPECT_EQ(Caller(profile, profile.samples[0], 0), "store::Open");
}

TEST_F(CustomProfileTest, TextIsThatOfACountProfile) {
  StringSink empty;
  ASSERT_TRUE(files_.WriteText(1, empty).ok());
  EXPECT_EQ(empty.text(), "example.com/store.files profile: total 0\n");
  for (int key = 0; key < 3; ++key) ASSERT_TRUE(OpenFirst(files_, key).ok());
  for (const int debug : {1, 2}) {
    StringSink sink;
    ASSERT_TRUE(WriteProfile(files_, debug, sink).ok());
    EXPECT_EQ(sink.text().find("example.com/store.files profile: total 3\n3 @ 0x"), 0u) << sink.text();
    EXPECT_THAT(sink.text(), HasSubstr("\tstore::Open+0x"));
    EXPECT_THAT(sink.text(), HasSubstr("\tstore::OpenFirst+0x"));
  }
}

TEST_F(CustomProfileTest, IsWrittenInBinaryToo) {
  ASSERT_TRUE(Open(files_, 1).ok());
  StringSink sink;
  ASSERT_TRUE(WriteProfile(files_, 0, sink).ok());
  perftools::profiles::Profile parsed;
  ASSERT_TRUE(parsed.ParseFromString(Gunzip(sink.text()).value_or("nothing")));
  EXPECT_EQ(parsed.sample_size(), 1);
  EXPECT_EQ(parsed.string_table(static_cast<int>(parsed.sample_type(0).type())), "example.com/store.files");
  const absl::Status refused = WriteProfile(files_, -1, sink);
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("example.com/store.files: debug is -1"));
}

TEST_F(CustomProfileTest, ThreadsAddAndRemoveWhileOthersCollect) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 1000; ++i) {
        EXPECT_TRUE(OpenFirst(files_, t * 1000 + i).ok());
        if (i % 2 == 0) files_.Remove(t * 1000 + i);
      }
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_LE(Collected().samples.size(), 1u + 4u);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(files_.Count(), 2000);
}

class CustomProfileFiberTest : public testing::RuntimeTest {};

TEST_P(CustomProfileFiberTest, AFiberIsShownFromItsOwnFunctionOn) {
  const absl::StatusOr<CustomProfile*> profile = NewProfile("test/fibers" + std::to_string(GetParam()));
  ASSERT_TRUE(profile.ok()) << profile.status();
  RunInFiber([&] {
    ASSERT_TRUE(OpenFirst(**profile, 1).ok());
    this_fiber::Yield();
    ASSERT_TRUE(OpenFirst(**profile, 2).ok());
  });
  StringSink sink;
  ASSERT_TRUE((*profile)->WriteText(1, sink).ok());
  EXPECT_THAT(sink.text(), HasSubstr("profile: total 2\n1 @ "));
  EXPECT_THAT(sink.text(), HasSubstr("store::OpenFirst+0x"));
  EXPECT_THAT(sink.text(), HasSubstr("AFiberIsShownFromItsOwnFunctionOn"));
  EXPECT_EQ(sink.text().find("fiberscope_fiber_entry"), std::string::npos) << sink.text();
}

INSTANTIATE_TEST_SUITE_P(Processors, CustomProfileFiberTest, ::testing::Values(1, 3));

TEST(NewProfileTest, IsFoundByNameFromThenOn) {
  EXPECT_EQ(ProcessProfiles().Find("example.com/new.profile"), nullptr);
  const absl::StatusOr<CustomProfile*> made = NewProfile("example.com/new.profile");
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(ProcessProfiles().Find("example.com/new.profile"), *made);
  EXPECT_EQ((*made)->name(), "example.com/new.profile");
  EXPECT_EQ((*made)->description(), "");
  EXPECT_FALSE((*made)->has_delta());
  EXPECT_EQ(NewProfile("example.com/new.profile").status().code(), absl::StatusCode::kAlreadyExists);
}

TEST(NewProfileTest, RefusesNamesThatAreTakenOrNone) {
  for (const char* name : {"goroutine", "heap", "threadcreate", "profile", "cmdline", "trace"}) {
    const absl::Status status = NewProfile(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    EXPECT_EQ(ProcessProfiles().Find(name), nullptr);
  }
  for (const char* name : {"", "my profile", "a/../b"}) {
    EXPECT_EQ(NewProfile(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace fiberscope::pprof
