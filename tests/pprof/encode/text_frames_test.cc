#include "pprof/encode/text_frames.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Visible(Symbolizer& symbolizer, std::vector<uintptr_t> stack) {
  TextFrames frames(symbolizer);
  std::vector<std::string> names;
  for (const StackLine& line : frames.VisibleLines(stack)) names.push_back(line.frame->function);
  return names;
}

TEST(TextFrames, MachineryIsHiddenUntilTheFirstOtherFrame) {
  Shop shop;
  const auto visible = [&shop](std::vector<uintptr_t> stack) { return Visible(shop.symbolizer(), stack); };
  EXPECT_THAT(visible({Shop::kSwitch, Shop::kPark, Shop::kReceive, Shop::kTake}),
              ElementsAre("shop::Queue::Take", "shop::Worker"));
  EXPECT_THAT(visible({Shop::kPark, Shop::kWorker, Shop::kReceive, Shop::kMain}),
              ElementsAre("shop::Worker", "fiberscope::Channel<...>::Receive", "main"));
  EXPECT_THAT(visible({Shop::kPark, Shop::kStart}), ElementsAre("shop::Start")) << "an inlined Spawn is machinery";
  EXPECT_THAT(visible({Shop::kPark, Shop::kNowhere, Shop::kReceive}),
              ElementsAre("", "fiberscope::Channel<...>::Receive"))
      << "an unknown frame ends the hiding";
  EXPECT_THAT(visible({Shop::kSwitch, Shop::kPark}),
              ElementsAre("fiberscope_switch_context", "fiberscope::internal::Park"))
      << "nothing else is left";
  EXPECT_THAT(visible({}), IsEmpty());
}

TEST(TextFrames, RendersOneAddressOnce) {
  Shop shop;
  TextFrames frames(shop.symbolizer());
  const TextLocation& location = frames.Lookup(Shop::kTake);
  EXPECT_EQ(&frames.Lookup(Shop::kTake), &location);
  EXPECT_EQ(location.function_start, 0x403000u);
  ASSERT_EQ(location.frames.size(), 2u);
  EXPECT_EQ(location.frames[0].function, "shop::Queue::Take");
  EXPECT_EQ(location.frames[0].position, "/src/shop/queue.h:12");
  EXPECT_TRUE(location.frames[0].inlined);
  EXPECT_FALSE(location.frames[1].inlined);
}

TEST(TextFrames, RootGlueIsLeftOutAroundAnInlinedFunction) {
  Shop shop;
  TextFrames frames(shop.symbolizer());
  const TextLocation& location = frames.Lookup(Shop::kRunLambda);
  ASSERT_EQ(location.frames.size(), 1u);
  EXPECT_EQ(location.frames[0].function, "shop::Start::{lambda#1}::operator()");
  EXPECT_TRUE(location.frames[0].inlined);
}

TEST(TextFrames, UnknownAddressIsOneUnknownFrame) {
  Shop shop;
  TextFrames frames(shop.symbolizer());
  const TextLocation& location = frames.Lookup(Shop::kNowhere);
  ASSERT_EQ(location.frames.size(), 1u);
  EXPECT_EQ(location.frames[0].function, "");
  EXPECT_EQ(location.frames[0].position, "??:0");
  EXPECT_EQ(location.function_start, 0u);
}

TEST(TextFrames, NamesAndFilesAreEscapedAndCut) {
  FakeSymbolizer symbolizer;
  symbolizer.Function(0x100, 0x200, {"f\n\tgoroutine 1 [running]:()", "", "a\nb\t\xff.cc", 7, 0});
  symbolizer.Function(0x200, 0x300, {std::string(100'000, 'f'), "", std::string(100'000, '\x01'), 7, 0});
  TextFrames frames(symbolizer);
  EXPECT_EQ(frames.Lookup(0x150).frames[0].position, "a\\nb\\t\\xff.cc:7");
  EXPECT_EQ(frames.Lookup(0x150).frames[0].function.find_first_of("\n\t"), std::string::npos);
  EXPECT_EQ(frames.Lookup(0x250).frames[0].function, std::string(4096, 'f') + "...");
  EXPECT_LT(frames.Lookup(0x250).frames[0].position.size(), 17'000u);
}

}  // namespace
}  // namespace fiberscope::pprof
