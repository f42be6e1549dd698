#include "pprof/sources/goroutine_source.h"

#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "tests/testing/shop.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

// Notes every address it is asked for.
class RecordingSymbolizer : public Symbolizer {
 public:
  RecordingSymbolizer(Symbolizer& symbolizer, std::vector<uintptr_t>& asked) : symbolizer_(symbolizer), asked_(asked) {}

  const Symbolized& Lookup(uintptr_t pc) override {
    asked_.push_back(pc);
    return symbolizer_.Lookup(pc);
  }
  bool WaitForLines(std::chrono::milliseconds timeout) override { return symbolizer_.WaitForLines(timeout); }

 private:
  Symbolizer& symbolizer_;
  std::vector<uintptr_t>& asked_;
};

class GoroutineSourceTest : public testing::Test {
 protected:
  GoroutineSourceTest() : source_(shop_.symbolizer(), shop_.Inputs()) {}

  Profile Collect() {
    absl::StatusOr<Profile> profile = source_.Collect();
    EXPECT_TRUE(profile.ok());
    return *std::move(profile);
  }

  std::string Text(int debug) {
    StringSink sink;
    EXPECT_TRUE(source_.WriteText(debug, sink).ok());
    return sink.text();
  }

  static std::vector<std::string> Comments(const Profile& profile) {
    std::vector<std::string> texts;
    for (const Profile::StringId comment : profile.comments) texts.emplace_back(profile.Text(comment));
    return texts;
  }

  // "count: leaf <- caller <- ...", by names, root machinery gone.
  static std::vector<std::string> Describe(const Profile& profile) {
    std::vector<std::string> samples;
    for (const Profile::Sample& sample : profile.samples) {
      std::string text = std::to_string(sample.values.at(0)) + ":";
      for (const Profile::LocationId id : sample.stack) {
        for (const Profile::Line& line : profile.Get(id).lines) {
          text += " " + ShortFunctionName(profile.Text(profile.Get(line.function).name));
        }
      }
      samples.push_back(text);
    }
    return samples;
  }

  static TestFiber Parked(uint64_t id, std::vector<uintptr_t> stack, std::vector<Label> labels = {}) {
    TestFiber fiber;
    fiber.snapshot.id = {id};
    fiber.snapshot.state = FiberState::kWaiting;
    fiber.stack = std::move(stack);
    fiber.labels = std::move(labels);
    return fiber;
  }

  Shop shop_;
  GoroutineSource source_;
};

TEST_F(GoroutineSourceTest, PresentsItself) {
  EXPECT_EQ(source_.name(), "goroutine");
  EXPECT_THAT(std::string(source_.description()), StartsWith("Stack traces of all current goroutines."));
  EXPECT_EQ(source_.Count(), 7);
}

TEST_F(GoroutineSourceTest, ProfileIsACountOfFibersByStack) {
  const Profile profile = Collect();
  ASSERT_THAT(profile.sample_types, SizeIs(1));
  EXPECT_EQ(profile.Text(profile.sample_types[0].type), "goroutine");
  EXPECT_EQ(profile.Text(profile.sample_types[0].unit), "count");
  EXPECT_EQ(profile.period_type, profile.sample_types[0]);
  EXPECT_EQ(profile.period, 1);
  EXPECT_EQ(profile.time.time_since_epoch(), std::chrono::seconds(1'700'000'000));
  EXPECT_EQ(profile.duration.count(), 0);
  EXPECT_EQ(profile.default_sample_type, Profile::StringId::kEmpty);
  EXPECT_THAT(Describe(profile),
              ElementsAre("3: fiberscope_switch_context fiberscope::internal::Park fiberscope::Channel<...>::Receive "
                          "shop::Queue::Take shop::Worker",
                          "1: shop::Worker",  // running: at its entry
                          "1: shop::(anonymous)::Process<...> shop::Worker",
                          "1: fiberscope_switch_context fiberscope::internal::Park fiberscope::Spawn<...> shop::Start "
                          "shop::Start::{lambda#1}::operator()",
                          "1: epoll_wait shop::(anonymous)::Process<...> shop::Start::{lambda#1}::operator()"));
}

TEST_F(GoroutineSourceTest, AllFormsCountTheSameFibers) {
  int64_t in_profile = 0;
  for (const Profile::Sample& sample : Collect().samples) in_profile += sample.values[0];
  EXPECT_EQ(in_profile, source_.Count());
  EXPECT_THAT(Text(1), StartsWith("goroutine profile: total 7\n"));
  const std::string dump = Text(2);
  int in_dump = 0;
  for (size_t at = 0; (at = dump.find("goroutine ", at)) != std::string::npos; ++at) {
    in_dump += at == 0 || dump.substr(at - 2, 2) == "\n\n";
  }
  EXPECT_EQ(in_dump, source_.Count());
}

TEST_F(GoroutineSourceTest, LabelsBecomeSampleLabelsButNamesDoNotSplitGroups) {
  shop_.fibers() = {Parked(1, {Shop::kWorker}, {{"a", "1"}, {"b", "\xff"}}), Parked(2, {Shop::kWorker}),
                    Parked(3, {Shop::kWorker})};
  shop_.fibers()[1].name = "one";
  shop_.fibers()[2].name = "two";
  const Profile profile = Collect();
  EXPECT_THAT(Describe(profile), ElementsAre("2: shop::Worker", "1: shop::Worker"));
  EXPECT_THAT(profile.samples[0].labels, IsEmpty());
  ASSERT_THAT(profile.samples[1].labels, SizeIs(2));
  EXPECT_EQ(profile.Text(profile.samples[1].labels[0].key), "a");
  EXPECT_EQ(profile.Text(profile.samples[1].labels[0].text), "1");
  EXPECT_EQ(profile.Text(profile.samples[1].labels[1].text), "\\xff");
}

TEST_F(GoroutineSourceTest, StacksThatDifferInTheirRootsOnlyAreOneGroup) {
  shop_.fibers() = {Parked(1, {Shop::kWorker, Shop::kRunWorker, Shop::kTrampoline}),
                    Parked(2, {Shop::kWorker, Shop::kFiberMain})};
  EXPECT_EQ(Text(1),
            "goroutine profile: total 2\n"
            "2 @ 0x403021\n"
            "#\t0x403020\tshop::Worker+0x20\t/src/shop/shop.cc:42\n"
            "\n");
}

TEST_F(GoroutineSourceTest, FibersWithoutAStackOfTheirOwnAreAtTheirEntry) {
  TestFiber queued = Parked(1, {Shop::kTrampoline});
  queued.snapshot.state = FiberState::kRunnable;
  TestFiber running = Parked(2, {});
  running.snapshot.state = FiberState::kRunning;
  for (TestFiber* fiber : {&queued, &running}) fiber->snapshot.entry_pc = Shop::kWorkerEntry;
  shop_.fibers() = {queued, running};
  EXPECT_EQ(Text(1),
            "goroutine profile: total 2\n"
            "2 @ 0x403001\n"
            "#\t0x403000\tshop::Worker+0x0\t/src/shop/shop.cc:40\n"
            "\n");
}

TEST_F(GoroutineSourceTest, FiberOfWhichNothingIsKnownIsStillCounted) {
  shop_.fibers() = {Parked(1, {})};
  EXPECT_THAT(Text(1), StartsWith("goroutine profile: total 1\n1 @ 0x0\n"));
  const Profile profile = Collect();
  ASSERT_THAT(profile.samples, SizeIs(1));
  EXPECT_THAT(profile.samples[0].stack, IsEmpty());
}

TEST_F(GoroutineSourceTest, InnermostFramesOfADeepStackCount) {
  std::vector<uintptr_t> deep(1000, Shop::kWorker);
  deep.front() = Shop::kProcess;
  shop_.fibers() = {Parked(1, deep)};
  const Profile profile = Collect();
  ASSERT_THAT(profile.samples[0].stack, SizeIs(128));
  EXPECT_EQ(profile.Get(profile.samples[0].stack[0]).address, Shop::kProcess - 1);
}

TEST_F(GoroutineSourceTest, NoFibersAreAnEmptyProfileInEveryForm) {
  shop_.fibers().clear();
  EXPECT_EQ(source_.Count(), 0);
  EXPECT_THAT(Collect().samples, IsEmpty());
  EXPECT_THAT(Collect().sample_types, SizeIs(1));
  EXPECT_EQ(Text(1), "goroutine profile: total 0\n");
  EXPECT_EQ(Text(2), "");
}

TEST_F(GoroutineSourceTest, HigherDebugMeansTwo) { EXPECT_EQ(Text(3), Text(2)); }

TEST_F(GoroutineSourceTest, WaitsForLinesOncePerRequestAndNotForLong) {
  Collect();
  EXPECT_EQ(shop_.symbolizer().waits(), 1);
  Text(1);
  EXPECT_EQ(shop_.symbolizer().waits(), 2);
  Text(2);
  EXPECT_EQ(shop_.symbolizer().waits(), 3);
  EXPECT_EQ(shop_.symbolizer().longest_wait(), std::chrono::seconds(2));
}

TEST_F(GoroutineSourceTest, ListingEndsWhenTheReaderLeaves) {
  int visited = 0;
  GoroutineInputs inputs = shop_.Inputs();
  const FiberEnumerator all = inputs.for_each_fiber;
  inputs.for_each_fiber = [&](const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit) {
    return all(options, [&](const FiberSnapshot& fiber) {
      ++visited;
      return visit(fiber);
    });
  };
  GoroutineSource source(shop_.symbolizer(), inputs);
  LeavingSink sink(300);
  EXPECT_EQ(source.WriteText(2, sink).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(sink.refusals(), 1);
  EXPECT_LT(visited, 4);
}

TEST_F(GoroutineSourceTest, SaysWhenItIsNotOfOneInstant) {
  EXPECT_THAT(Comments(Collect()), IsEmpty());
  EXPECT_THAT(Text(1), Not(HasSubstr("instant")));
  GoroutineInputs inputs = shop_.Inputs();
  inputs.for_each_fiber = [all = inputs.for_each_fiber](const RegistryOptions& options,
                                                        absl::FunctionRef<bool(const FiberSnapshot&)> visit) {
    EXPECT_TRUE(options.one_instant);
    all(options, visit);
    return FiberListing{.why_not = "the dog ate it"};
  };
  GoroutineSource source(shop_.symbolizer(), inputs);
  EXPECT_THAT(Comments(*source.Collect()), ElementsAre("not one instant: the dog ate it"));
  StringSink sink;
  ASSERT_TRUE(source.WriteText(1, sink).ok());
  EXPECT_THAT(sink.text(), EndsWith("\n# not one instant: the dog ate it\n"));
}

// Ids in the order of the dump.
std::vector<int> IdsOf(const std::string& dump) {
  std::vector<int> ids;
  std::istringstream lines(dump);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("goroutine ")) ids.push_back(std::stoi(line.substr(10)));
  }
  return ids;
}

TEST_F(GoroutineSourceTest, AllFormsChooseTheSameFibers) {
  shop_.fibers()[1].name = "first";
  const auto function = [](std::string_view pattern) { return *FunctionPattern::Compile(pattern); };
  const struct Row {
    FiberFilter filter;
    std::vector<int> ids;
  } rows[] = {
      {{}, {1, 2, 3, 4, 5, 6, 7}},
      {{.state = FiberState::kRunning}, {5}},
      {{.state = FiberState::kWaiting}, {1, 2, 3, 4, 7}},
      {{.reason = WaitReason::kChannelReceive}, {2, 3, 4}},
      {{.min_wait = std::chrono::seconds(60)}, {1}},
      {{.labels = {{"route", "/orders"}}}, {5, 6}},
      {{.labels = {{"name", "first"}}}, {2}},
      {{.function = function("^shop::Worker$")}, {2, 3, 4, 5, 6}},
      {{.function = function("shop::Queue::Take")}, {2, 3, 4}},
      {{.function = function("epoll_wait|shop::Start")}, {1, 7}},
      {{.function = function("FiberMain")}, {}},
      {{.state = FiberState::kRunnable, .function = function("Process")}, {6}},
      {{.reason = WaitReason::kSleep}, {}},
  };
  for (const Row& row : rows) {
    StringSink dump;
    ASSERT_TRUE(source_.WriteText(row.filter, 2, dump).ok());
    EXPECT_THAT(IdsOf(dump.text()), ElementsAreArray(row.ids));
    StringSink text;
    ASSERT_TRUE(source_.WriteText(row.filter, 1, text).ok());
    EXPECT_THAT(text.text(), StartsWith("goroutine profile: total " + std::to_string(row.ids.size()) + "\n"));
    const absl::StatusOr<Profile> profile = source_.Collect(row.filter, {});
    ASSERT_TRUE(profile.ok());
    int64_t in_profile = 0;
    for (const Profile::Sample& sample : profile->samples) in_profile += sample.values[0];
    EXPECT_EQ(in_profile, static_cast<int64_t>(row.ids.size()));
    const FiberPage page = source_.CollectPage(row.filter, {.limit = 7});
    StringSink paged;
    ASSERT_TRUE(source_.WritePage(page, paged).ok());
    EXPECT_EQ(paged.text(), dump.text());
    EXPECT_EQ(page.next_after(), std::nullopt);
  }
}

// Every label of every sample, in order: "state=waiting wait_reason=chan receive | state=running".
std::string LabelText(const Profile& profile) {
  std::string text;
  for (const Profile::Sample& sample : profile.samples) {
    if (!text.empty()) text += " |";
    for (const Profile::Label& label : sample.labels) {
      text += " " + profile.Text(label.key) + "=" +
              (label.number != 0 ? std::to_string(label.number) + profile.Text(label.unit) : profile.Text(label.text));
    }
  }
  return text;
}

TEST_F(GoroutineSourceTest, TagsBecomeLabelsOfSamples) {
  shop_.fibers().clear();
  for (const uint64_t id : {1, 2, 3}) {
    TestFiber fiber = Parked(id, {Shop::kTake, Shop::kRunWorker});
    fiber.snapshot.wait_reason = WaitReason::kChannelReceive;
    fiber.snapshot.waited = std::chrono::nanoseconds(id < 3 ? 500 : 0);
    fiber.snapshot.creator_pc = Shop::kStart;
    shop_.fibers().push_back(fiber);
  }
  shop_.fibers()[2].snapshot.state = FiberState::kRunnable;
  shop_.fibers()[2].snapshot.wait_reason = WaitReason::kNone;
  const auto labels = [this](const FiberTags& tags) { return LabelText(*source_.Collect(FiberFilter(), tags)); };
  EXPECT_EQ(labels({}), "");
  EXPECT_EQ(labels({.state = true}), " state=waiting wait_reason=chan receive | state=runnable");
  EXPECT_EQ(labels({.wait = true}), " wait_ns=500nanoseconds |");
  EXPECT_EQ(labels({.creator = true}), " created_by=shop::Start");
  EXPECT_EQ(labels({.id = true}), " goroutine_id=1id | goroutine_id=2id | goroutine_id=3id");
  const Profile all = *source_.Collect({.state = FiberState::kRunnable}, {true, true, true, true});
  EXPECT_EQ(LabelText(all), " state=runnable created_by=shop::Start goroutine_id=3id");
  EXPECT_THAT(Describe(all), ElementsAre("1: shop::Queue::Take shop::Worker"));
}

TEST_F(GoroutineSourceTest, AFunctionBelowTheInnermostFramesOfADeepStackCounts) {
  std::vector<uintptr_t> deep(1000, Shop::kWorker);
  deep.back() = Shop::kProcess;
  shop_.fibers() = {Parked(1, deep), Parked(2, {Shop::kWorker})};
  const absl::StatusOr<Profile> profile = source_.Collect({.function = *FunctionPattern::Compile("Process")}, {});
  ASSERT_TRUE(profile.ok());
  ASSERT_THAT(profile->samples, SizeIs(1));
  EXPECT_THAT(profile->samples[0].stack, SizeIs(128));
}

TEST_F(GoroutineSourceTest, PagesAreInTheOrderOfIdsAndCombineWithFilters) {
  std::reverse(shop_.fibers().begin(), shop_.fibers().end());
  const FiberFilter waiting{.state = FiberState::kWaiting};
  std::vector<std::vector<int>> pages;
  FiberPageOptions options{.limit = 2};
  for (bool more = true; more;) {
    const FiberPage page = source_.CollectPage(waiting, options);
    StringSink sink;
    ASSERT_TRUE(source_.WritePage(page, sink).ok());
    pages.push_back(IdsOf(sink.text()));
    more = page.next_after().has_value();
    options.after = page.next_after().value_or(FiberId());
  }
  EXPECT_THAT(pages, ElementsAre(ElementsAre(1, 2), ElementsAre(3, 4), ElementsAre(7)));
}

TEST_F(GoroutineSourceTest, FibersThatAFilterLeavesOutAreNotSymbolized) {
  std::vector<uintptr_t> symbolized;
  RecordingSymbolizer symbolizer(shop_.symbolizer(), symbolized);
  StringSink sink;
  GoroutineSource source(symbolizer, shop_.Inputs());
  ASSERT_TRUE(source.WriteText({.labels = {{"no", "such"}}, .function = *FunctionPattern::Compile("shop")}, 2, sink).ok());
  EXPECT_EQ(sink.text(), "");
  EXPECT_THAT(symbolized, IsEmpty());
  ASSERT_TRUE(source.WriteText({.state = FiberState::kRunning}, 2, sink).ok());
  EXPECT_THAT(symbolized, ElementsAre(Shop::kStart - 1)) << "its creator's: a running fiber has no stack";
}

TEST_F(GoroutineSourceTest, APageReturnsTheErrorsOfTheSink) {
  LeavingSink sink(0);
  EXPECT_EQ(source_.WritePage(source_.CollectPage({}, {.limit = 3}), sink).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(sink.refusals(), 1);
}

TEST_F(GoroutineSourceTest, ErrorsOfTheSinkAreReturned) {
  for (const int debug : {1, 2}) {
    LeavingSink sink(0);
    EXPECT_EQ(source_.WriteText(debug, sink).code(), absl::StatusCode::kCancelled) << debug;
  }
}

TEST_F(GoroutineSourceTest, SameStateSameBytes) {
  for (const int debug : {1, 2}) EXPECT_EQ(Text(debug), Text(debug));
  EXPECT_EQ(Collect(), Collect());
  // The order of the listing decides nothing but the order of the dump.
  const std::string text = Text(1);
  std::reverse(shop_.fibers().begin(), shop_.fibers().end());
  EXPECT_EQ(Text(1), text);
}

}  // namespace
}  // namespace fiberscope::pprof
