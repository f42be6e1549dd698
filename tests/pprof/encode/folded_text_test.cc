#include "pprof/encode/folded_text.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "pprof/profile_builder.h"
#include "tests/testing/shop.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

class FoldedTextTest : public testing::Test {
 protected:
  FoldedTextTest() : builder_(shop_.symbolizer(), {}) {
    builder_.AddSampleType("samples", "count");
    builder_.AddSampleType("time", "nanoseconds");
  }

  void Add(std::vector<uintptr_t> stack, int64_t count, std::string_view label = "") {
    const int64_t values[] = {count, 1'000'000'000};
    const SampleLabel labels[] = {{.key = "label", .text = label}};
    builder_.AddSample(stack, values, label.empty() ? std::span<const SampleLabel>() : labels);
  }

  std::string Folded() {
    StringSink sink;
    EXPECT_TRUE(WriteFolded(std::move(builder_).Build(), sink).ok());
    return sink.text();
  }

  Shop shop_;
  ProfileBuilder builder_;
};

TEST_F(FoldedTextTest, RootComesFirstAndInlinedCallsAreFrames) {
  Add({Shop::kLibrary, Shop::kProcess, Shop::kTake, Shop::kMain}, 42);
  EXPECT_EQ(Folded(), "main;shop::Worker;shop::Queue::Take;shop::(anonymous)::Process<...>;epoll_wait 42\n");
}

TEST_F(FoldedTextTest, LinesAreSortedAndEqualOnesBecomeOne) {
  Add({Shop::kWorker}, 1);
  Add({Shop::kMain}, 2);
  Add({Shop::kWorker}, 10, "of another label");
  Add({Shop::kWorker + 2}, 100);  // of another line
  EXPECT_EQ(Folded(), "main 2\nshop::Worker 111\n");
}

TEST_F(FoldedTextTest, MachineryIsHiddenAtTheLeafOnly) {
  Add({Shop::kSwitch, Shop::kPark, Shop::kReceive, Shop::kWorker}, 1);
  Add({Shop::kMain, Shop::kReceive, Shop::kWorker}, 2);
  Add({Shop::kSwitch, Shop::kPark}, 3);
  EXPECT_EQ(Folded(),
            "fiberscope::internal::Park;fiberscope_switch_context 3\n"
            "shop::Worker 1\n"
            "shop::Worker;fiberscope::Channel<...>::Receive;main 2\n");
}

TEST_F(FoldedTextTest, WhatHasNoNameIsItsAddressAndWhatHasNoStackIsAQuestionMark) {
  Add({Shop::kNowhere, Shop::kWorker}, 5);
  Add({}, 7);
  EXPECT_EQ(Folded(), "? 7\nshop::Worker;0x8fff 5\n");
}

TEST_F(FoldedTextTest, NamesDoNotBreakTheLine) {
  shop_.symbolizer().Function(0x500000, 0x500100, {"odd;name\n1", "odd;name\n1", "", 0, 0});
  Add({0x500010}, 1);
  EXPECT_EQ(Folded(), "odd_name_1 1\n");
}

TEST_F(FoldedTextTest, NothingIsAnEmptyText) { EXPECT_EQ(Folded(), ""); }

TEST_F(FoldedTextTest, EndsWhenTheReaderLeaves) {
  for (uintptr_t i = 0; i < 20'000; ++i) Add({0x600000 + i}, 1);
  const Profile profile = std::move(builder_).Build();
  MeasuringSink whole;
  ASSERT_TRUE(WriteFolded(profile, whole).ok());
  EXPECT_GT(whole.writes(), 2);
  EXPECT_LT(whole.largest(), 64u << 10);
  for (const size_t limit : {size_t{0}, size_t{40'000}, whole.text().size() - 1}) {
    LeavingSink leaving(limit);
    EXPECT_EQ(WriteFolded(profile, leaving).code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(leaving.refusals(), 1);
  }
}

}  // namespace
}  // namespace fiberscope::pprof
