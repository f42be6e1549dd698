#include "pprof/profile_builder.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

using Stack = std::vector<uintptr_t>;
using LocationId = Profile::LocationId;
using MappingId = Profile::MappingId;

class ProfileBuilderTest : public testing::Test {
 protected:
  ProfileBuilder NewBuilder(std::vector<Mapping> mappings) {
    ProfileBuilder builder(shop_.symbolizer(), mappings);
    builder.AddSampleType("goroutine", "count");
    return builder;
  }
  ProfileBuilder NewBuilder() { return NewBuilder(shop_.Inputs().mappings()); }

  // The functions of one address, "name|system name|file:line|start line".
  static std::vector<std::string> Lines(const Profile& profile, LocationId id) {
    std::vector<std::string> lines;
    for (const Profile::Line& line : profile.Get(id).lines) {
      const Profile::Function& function = profile.Get(line.function);
      lines.push_back(profile.Text(function.name) + "|" + profile.Text(function.system_name) + "|" +
                      profile.Text(function.file) + ":" + std::to_string(line.line) + "|" +
                      std::to_string(function.start_line));
    }
    return lines;
  }

  Shop shop_;
  const std::vector<int64_t> one_ = {1};
};

TEST_F(ProfileBuilderTest, InlinedCallsAreLinesOfOneLocationInnermostFirst) {
  ProfileBuilder builder = NewBuilder();
  builder.AddSample(Stack{Shop::kTake}, one_);
  const Profile profile = std::move(builder).Build();
  ASSERT_THAT(profile.locations, SizeIs(1));
  EXPECT_EQ(profile.locations[0].address, Shop::kTake - 1);
  EXPECT_THAT(Lines(profile, LocationId{1}),
              ElementsAre("shop::Queue::Take()|_ZN4shop5Queue4TakeEv|/src/shop/queue.h:12|10",
                          "shop::Worker(shop::Queue&)|_ZN4shop6WorkerERNS_5QueueE|/src/shop/shop.cc:44|40"));
}

TEST_F(ProfileBuilderTest, IdsAreDenseInOrderOfAppearanceAndShared) {
  ProfileBuilder builder = NewBuilder();
  builder.AddSample(Stack{Shop::kPark, Shop::kTake, Shop::kStart}, one_);
  builder.AddSample(Stack{Shop::kWorker, Shop::kTake}, one_);
  const Profile profile = std::move(builder).Build();
  ASSERT_THAT(profile.samples, SizeIs(2));
  EXPECT_THAT(profile.samples[0].stack, ElementsAre(LocationId{1}, LocationId{2}, LocationId{3}));
  EXPECT_THAT(profile.samples[1].stack, ElementsAre(LocationId{4}, LocationId{2}));
  EXPECT_THAT(profile.functions, SizeIs(5)) << "Park, Take, Worker (at two addresses), Spawn, Start";
  EXPECT_EQ(profile.Get(LocationId{2}).lines[1].function, profile.Get(LocationId{4}).lines[0].function);
  EXPECT_EQ(profile.strings[0], "");
}

TEST_F(ProfileBuilderTest, MachineryStaysButTheEntryGlueAroundALambdaDoesNot) {
  ProfileBuilder builder = NewBuilder();
  builder.AddSample(Stack{Shop::kPark, Shop::kRunLambda}, one_);
  const Profile profile = std::move(builder).Build();
  EXPECT_THAT(Lines(profile, LocationId{1}), SizeIs(1));
  EXPECT_THAT(
      Lines(profile, LocationId{2}),
      ElementsAre(
          "shop::Start(int)::{lambda()#1}::operator()() const|_ZZN4shop5StartEiENKUlvE_clEv|/src/shop/shop.cc:61|60"));
}

TEST_F(ProfileBuilderTest, UnknownAddressesHaveNoLines) {
  ProfileBuilder builder = NewBuilder();
  builder.AddSample(Stack{Shop::kNowhere}, one_);
  const Profile profile = std::move(builder).Build();
  EXPECT_EQ(profile.locations[0], (Profile::Location{MappingId::kNone, Shop::kNowhere - 1, {}}));
}

// pprof demangles again, and strips, what has two equal names that look like C++.
TEST_F(ProfileBuilderTest, SystemNameNeverInvitesAnotherDemangling) {
  struct {
    const char* name;
    const char* system_name;
    const char* expected;
  } const cases[] = {
      {"ns::f(int)", "_ZN2ns1fEi", "_ZN2ns1fEi"}, {"main", "main", "main"}, {"memcpy@plt", "memcpy@plt", "memcpy@plt"},
      {"ns::f<int>(int)", "ns::f<int>(int)", ""}, {"ns::f(int)", "", ""},   {"f(int)", "f(int)", ""},
  };
  for (const auto& c : cases) {
    FakeSymbolizer symbolizer;
    symbolizer.Function(0x100, 0x200, {c.name, c.system_name, "", 0, 0});
    ProfileBuilder builder(symbolizer, {});
    builder.AddSampleType("x", "count");
    builder.AddSample(Stack{0x150}, one_);
    const Profile profile = std::move(builder).Build();
    EXPECT_EQ(profile.Text(profile.functions[0].name), c.name);
    EXPECT_EQ(profile.Text(profile.functions[0].system_name), c.expected) << c.name;
  }
}

TEST_F(ProfileBuilderTest, MappingsKeepTheirOrderAndSayWhatIsKnown) {
  ProfileBuilder builder = NewBuilder();
  builder.AddSample(Stack{Shop::kLibrary, Shop::kWorker, Shop::kNowhere}, one_);
  const Profile profile = std::move(builder).Build();
  ASSERT_THAT(profile.mappings, SizeIs(3));
  const Profile::Mapping& binary = profile.mappings[0];
  EXPECT_EQ(profile.Text(binary.file), "/opt/shop/bin/shop");
  EXPECT_EQ(profile.Text(binary.build_id), "0123456789abcdef");
  EXPECT_EQ(binary.start, 0x400000u);
  EXPECT_EQ(binary.limit, 0x500000u);
  EXPECT_TRUE(binary.has_functions && binary.has_filenames && binary.has_line_numbers && binary.has_inline_frames);
  const Profile::Mapping& library = profile.mappings[1];
  EXPECT_EQ(library.offset, 0x1000u);
  EXPECT_TRUE(library.has_functions);
  EXPECT_FALSE(library.has_filenames || library.has_line_numbers || library.has_inline_frames);
  EXPECT_EQ(profile.Get(LocationId{1}).mapping, MappingId{2});
  EXPECT_EQ(profile.Get(LocationId{2}).mapping, MappingId{1});
  EXPECT_EQ(profile.Get(LocationId{3}).mapping, MappingId::kNone);
}

TEST_F(ProfileBuilderTest, MappingIsFoundByItsExactRange) {
  const std::vector<Mapping> mappings = {{0x3000, 0x4000, 0, "b", ""}, {0x1000, 0x2000, 0, "a", ""}};
  struct {
    uintptr_t address;
    MappingId expected;
  } const cases[] = {{0xfff, MappingId::kNone},  {0x1000, MappingId{2}}, {0x1fff, MappingId{2}},
                     {0x2000, MappingId::kNone}, {0x3000, MappingId{1}}, {0x4000, MappingId::kNone}};
  for (const auto& c : cases) {
    ProfileBuilder builder = NewBuilder(mappings);
    builder.AddSample(Stack{c.address + 1}, one_);
    EXPECT_EQ(std::move(builder).Build().locations[0].mapping, c.expected) << std::hex << c.address;
  }
}

TEST_F(ProfileBuilderTest, WithoutMappingsOneOfNoExtentOwnsEverything) {
  ProfileBuilder builder = NewBuilder({});
  builder.AddSample(Stack{Shop::kWorker, Shop::kNowhere}, one_);
  const Profile profile = std::move(builder).Build();
  ASSERT_THAT(profile.mappings, SizeIs(1));
  EXPECT_EQ(profile.mappings[0].limit, 0u);
  EXPECT_TRUE(profile.mappings[0].has_functions);
  for (const Profile::Location& location : profile.locations) EXPECT_EQ(location.mapping, MappingId{1});
}

TEST_F(ProfileBuilderTest, LabelsAreTextOrNumber) {
  ProfileBuilder builder = NewBuilder();
  const std::vector<SampleLabel> labels = {{.key = "route", .text = "/x"},
                                           {.key = "bytes", .number = 64, .unit = "bytes"}};
  builder.AddSample(Stack{Shop::kWorker}, one_, labels);
  const Profile profile = std::move(builder).Build();
  ASSERT_THAT(profile.samples[0].labels, SizeIs(2));
  const Profile::Label& route = profile.samples[0].labels[0];
  EXPECT_EQ(profile.Text(route.key), "route");
  EXPECT_EQ(profile.Text(route.text), "/x");
  const Profile::Label& bytes = profile.samples[0].labels[1];
  EXPECT_EQ(profile.Text(bytes.key), "bytes");
  EXPECT_EQ(bytes.text, Profile::StringId::kEmpty);
  EXPECT_EQ(bytes.number, 64);
  EXPECT_EQ(profile.Text(bytes.unit), "bytes");
}

TEST_F(ProfileBuilderTest, EveryStringIsValidUtf8) {
  FakeSymbolizer symbolizer;
  symbolizer.Function(0x100, 0x200, {"f\xff()", "_Z\xfe", "/a\xc3/b.cc", 1, 1});
  const std::vector<Mapping> mappings = {{0, 0x1000, 0, "/bin/\x80", ""}};
  ProfileBuilder builder(symbolizer, mappings);
  builder.AddSampleType("x", "count");
  builder.AddComment("\xed\xa0\x80");
  const std::vector<SampleLabel> labels = {{.key = "k\xff", .text = "v\xff\n"}};
  builder.AddSample(Stack{0x150}, one_, labels);
  const Profile profile = std::move(builder).Build();
  EXPECT_THAT(profile.strings, ElementsAre("", "/bin/\\x80", "x", "count", "\\xed\\xa0\\x80", "f\\xff()", "_Z\\xfe",
                                           "/a\\xc3/b.cc", "k\\xff", "v\\xff\n"));
}

TEST_F(ProfileBuilderTest, HeadersAreKept) {
  ProfileBuilder builder = NewBuilder();
  builder.AddSampleType("cpu", "nanoseconds");
  builder.SetDefaultSampleType("cpu");
  builder.SetPeriod("cpu", "nanoseconds", 10'000'000);
  builder.SetTime(std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::nanoseconds(5)));
  builder.SetDuration(std::chrono::seconds(2));
  builder.AddComment("hello");
  const Profile profile = std::move(builder).Build();
  ASSERT_THAT(profile.sample_types, SizeIs(2));
  EXPECT_EQ(profile.Text(profile.sample_types[0].type), "goroutine");
  EXPECT_EQ(profile.Text(profile.sample_types[1].unit), "nanoseconds");
  EXPECT_EQ(profile.Text(profile.default_sample_type), "cpu");
  EXPECT_EQ(profile.period_type, profile.sample_types[1]);
  EXPECT_EQ(profile.period, 10'000'000);
  EXPECT_EQ(profile.time.time_since_epoch().count(), 5);
  EXPECT_EQ(profile.duration, std::chrono::seconds(2));
  EXPECT_EQ(profile.Text(profile.comments.at(0)), "hello");
}

// Answers as the process's symbolizer gives them while it is still reading.
class PendingSymbolizer : public Symbolizer {
 public:
  const Symbolized& Lookup(uintptr_t) override { return answer_; }
  bool WaitForLines(std::chrono::milliseconds) override { return false; }

 private:
  const Symbolized answer_ = {.frames = {{.function = "f"}}, .function_start = 0x100, .lines = LineState::kPending};
};

TEST_F(ProfileBuilderTest, PendingLinesAreSaidOnce) {
  PendingSymbolizer symbolizer;
  ProfileBuilder builder(symbolizer, {});
  builder.AddSampleType("x", "count");
  builder.AddSample(Stack{0x150, 0x160}, one_);
  const Profile profile = std::move(builder).Build();
  ASSERT_THAT(profile.comments, SizeIs(1));
  EXPECT_EQ(profile.Text(profile.comments[0]), kLinesPending);
}

using ProfileBuilderDeathTest = ProfileBuilderTest;

TEST_F(ProfileBuilderDeathTest, RefusesAWrongNumberOfValues) {
  ProfileBuilder builder = NewBuilder();
  EXPECT_DEATH(builder.AddSample(Stack{Shop::kWorker}, std::vector<int64_t>{1, 2}), "2 values for 1 sample types");
}

TEST_F(ProfileBuilderDeathTest, RefusesASampleTypeAfterASample) {
  ProfileBuilder builder = NewBuilder();
  builder.AddSample(Stack{Shop::kWorker}, one_);
  EXPECT_DEATH(builder.AddSampleType("late", "count"), "sample type added after a sample");
}

}  // namespace
}  // namespace fiberscope::pprof
