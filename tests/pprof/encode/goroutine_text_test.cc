#include "pprof/encode/goroutine_text.h"

#include <chrono>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/shop.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

using std::chrono_literals::operator""s;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class GoroutineTextTest : public testing::Test {
 protected:
  std::string Text(const std::vector<TestFiber>& fibers) { return Text(shop_.symbolizer(), fibers); }

  static std::string Text(Symbolizer& symbolizer, const std::vector<TestFiber>& fibers) {
    StringSink sink;
    GoroutineTextEncoder encoder(symbolizer, sink);
    for (const TestFiber& fiber : fibers) EXPECT_TRUE(encoder.Write(fiber.View()).ok());
    return sink.text();
  }

  static TestFiber Waiting(uint64_t id, std::vector<uintptr_t> stack) {
    TestFiber fiber;
    fiber.snapshot.id = {id};
    fiber.snapshot.state = FiberState::kWaiting;
    fiber.snapshot.wait_reason = WaitReason::kSleep;
    fiber.stack = std::move(stack);
    return fiber;
  }

  Shop shop_;
};

TEST_F(GoroutineTextTest, BlocksAreSeparatedByAnEmptyLineAndEndWithoutOne) {
  EXPECT_EQ(Text({}), "");
  const std::string block = "[sleep]:\nmain(...)\n\t/src/shop/main.cc:12 +0x19\n";
  EXPECT_EQ(Text({Waiting(1, {Shop::kMain})}), "goroutine 1 " + block);
  EXPECT_EQ(Text({Waiting(1, {Shop::kMain}), Waiting(18446744073709551615u, {Shop::kMain})}),
            "goroutine 1 " + block + "\ngoroutine 18446744073709551615 " + block);
}

TEST_F(GoroutineTextTest, HeaderSaysStateMinutesAndLabels) {
  struct {
    FiberState state;
    WaitReason reason;
    std::chrono::nanoseconds waited;
    std::vector<Label> labels;
    const char* name;
    const char* expected;
  } const cases[] = {
      {FiberState::kWaiting, WaitReason::kIo, 59s, {}, "", "[IO wait]:"},
      {FiberState::kWaiting, WaitReason::kIo, 60s, {}, "", "[IO wait, 1 minutes]:"},
      {FiberState::kWaiting, WaitReason::kChannelSend, 119s, {}, "", "[chan send, 1 minutes]:"},
      {FiberState::kWaiting, WaitReason::kSleep, 86400s, {}, "", "[sleep, 1440 minutes]:"},
      {FiberState::kBlocking, WaitReason::kNone, 59s, {}, "", "[syscall]:"},
      {FiberState::kBlocking, WaitReason::kNone, 61s, {}, "", "[syscall, 1 minutes]:"},
      {FiberState::kRunnable, WaitReason::kNone, 600s, {}, "", "[runnable]:"},
      {FiberState::kNew, WaitReason::kNone, 0s, {}, "", "[idle]:"},
      {FiberState::kWaiting, WaitReason::kSleep, 0s, {{"k", "v"}}, "", "[sleep] {k: v}:"},
      {FiberState::kWaiting, WaitReason::kSleep, 60s, {{"k", "a b"}}, "n", "[sleep, 1 minutes] {k: \"a b\", name: n}:"},
  };
  for (const auto& c : cases) {
    TestFiber fiber = Waiting(1, {Shop::kMain});
    fiber.snapshot.state = c.state;
    fiber.snapshot.wait_reason = c.reason;
    fiber.snapshot.waited = c.waited;
    fiber.labels = c.labels;
    fiber.name = c.name;
    EXPECT_THAT(Text({fiber}), StartsWith(absl::StrCat("goroutine 1 ", c.expected, "\n")));
  }
}

TEST_F(GoroutineTextTest, WaitObjectAndOwnerDoNotSplitStates) {
  TestFiber fiber = Waiting(1, {Shop::kMain});
  fiber.snapshot.wait_object_id = 77;
  fiber.snapshot.wait_owner = {88};
  EXPECT_EQ(Text({fiber}), Text({Waiting(1, {Shop::kMain})}));
}

TEST_F(GoroutineTextTest, InlinedCallsHaveNoOffset) {
  EXPECT_EQ(Text({Waiting(1, {Shop::kTake})}),
            "goroutine 1 [sleep]:\n"
            "shop::Queue::Take(...)\n"
            "\t/src/shop/queue.h:12\n"
            "shop::Worker(...)\n"
            "\t/src/shop/shop.cc:44 +0x41\n");
}

TEST_F(GoroutineTextTest, MachineryIsHiddenAtTheLeafAndRootMachineryEverywhere) {
  EXPECT_EQ(Text({Waiting(1, {Shop::kSwitch, Shop::kPark, Shop::kReceive, Shop::kWorker, Shop::kRunWorker,
                              Shop::kFiberMain, Shop::kTrampoline})}),
            "goroutine 1 [sleep]:\n"
            "shop::Worker(...)\n"
            "\t/src/shop/shop.cc:42 +0x21\n");
  EXPECT_THAT(Text({Waiting(1, {Shop::kPark, Shop::kRunWorker, Shop::kTrampoline})}),
              HasSubstr("fiberscope::internal::Park(...)\n"))
      << "nothing else is left";
}

TEST_F(GoroutineTextTest, UnknownFramesAreQuestionMarksThatReadersKnow) {
  EXPECT_EQ(Text({Waiting(1, {Shop::kNowhere})}),
            "goroutine 1 [sleep]:\n?"
            "?(...)\n\t??:0\n");
  EXPECT_EQ(Text({Waiting(1, {Shop::kLibrary})}), "goroutine 1 [sleep]:\nepoll_wait(...)\n\t??:0 +0x23\n");
}

TEST_F(GoroutineTextTest, RunningFiberHasNoStackToShow) {
  TestFiber fiber = Waiting(1, {});
  fiber.snapshot.state = FiberState::kRunning;
  fiber.snapshot.entry_pc = Shop::kWorkerEntry;
  fiber.snapshot.creator_pc = Shop::kMain;
  EXPECT_EQ(Text({fiber}),
            "goroutine 1 [running]:\n"
            "\tgoroutine running on other thread; stack unavailable\n"
            "created by main\n"
            "\t/src/shop/main.cc:12 +0x19\n");
}

TEST_F(GoroutineTextTest, RunningFiberWhoseStackIsKnownShowsIt) {
  TestFiber fiber = Waiting(1, {Shop::kMain});
  fiber.snapshot.state = FiberState::kRunning;
  EXPECT_EQ(Text({fiber}), "goroutine 1 [running]:\nmain(...)\n\t/src/shop/main.cc:12 +0x19\n");
}

TEST_F(GoroutineTextTest, FiberThatHasNotRunIsAtItsEntry) {
  TestFiber fiber = Waiting(1, {});
  fiber.snapshot.state = FiberState::kRunnable;
  fiber.snapshot.entry_pc = Shop::kWorkerEntry;
  const std::string expected = "goroutine 1 [runnable]:\nshop::Worker(...)\n\t/src/shop/shop.cc:40\n";
  EXPECT_EQ(Text({fiber}), expected);
  fiber.stack = {Shop::kTrampoline};  // where the first switch will go
  EXPECT_EQ(Text({fiber}), expected);
}

TEST_F(GoroutineTextTest, CreatorIsTheFirstFrameThatIsNotOurs) {
  TestFiber fiber = Waiting(9, {Shop::kMain});
  fiber.snapshot.creator_pc = Shop::kStart;
  fiber.snapshot.parent_id = {7};
  EXPECT_THAT(Text({fiber}), HasSubstr("created by shop::Start in goroutine 7\n\t/src/shop/shop.cc:60 +0x89\n"));

  fiber.snapshot.creator_pc = Shop::kTake;
  EXPECT_THAT(Text({fiber}), HasSubstr("created by shop::Queue::Take in goroutine 7\n\t/src/shop/queue.h:12\n"));

  fiber.snapshot.creator_pc = Shop::kPark;
  EXPECT_THAT(Text({fiber}), HasSubstr("created by fiberscope::internal::Park in goroutine 7\n")) << "nobody else";

  fiber.snapshot.creator_pc = Shop::kNowhere;
  EXPECT_THAT(Text({fiber}), HasSubstr("created by ?? in goroutine 7\n\t??:0\n"));

  fiber.snapshot.creator_pc = 0;
  EXPECT_THAT(Text({fiber}), Not(HasSubstr("created by")));
}

class ElisionTest : public GoroutineTextTest {
 protected:
  // Frame i is "f<i>"; with `inlined` every second frame is inlined into the next.
  std::string DeepStack(int frames, bool inlined, bool truncated) {
    FakeSymbolizer symbolizer;
    std::vector<uintptr_t> stack;
    const auto frame = [](int i) { return Frame{absl::StrCat("f", i, "()"), "", "f.cc", i, 0}; };
    for (int i = 0; i < frames; ++i) {
      const uintptr_t start = 0x1000 + 0x100 * static_cast<uintptr_t>(i);
      const bool with_inlined = inlined && i + 1 < frames;
      symbolizer.Function(start, start + 0x100, frame(with_inlined ? i + 1 : i));
      symbolizer.Call(start + 0x50, with_inlined ? i + 1 : i,
                      with_inlined ? std::vector{frame(i)} : std::vector<Frame>());
      stack.push_back(start + 0x51);
      if (with_inlined) ++i;
    }
    TestFiber fiber = Waiting(1, stack);
    fiber.snapshot.stack_truncated = truncated;
    return Text(symbolizer, {fiber});
  }

  static std::vector<std::string> FunctionLines(const std::string& text) {
    std::vector<std::string> functions;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.ends_with("(...)") || line.starts_with("...")) functions.push_back(line);
    }
    return functions;
  }
};

TEST_F(ElisionTest, HundredFramesAreShown) {
  for (const bool inlined : {false, true}) {
    const auto lines = FunctionLines(DeepStack(100, inlined, false));
    ASSERT_EQ(lines.size(), 100u);
    EXPECT_EQ(lines[0], "f0(...)");
    EXPECT_EQ(lines[99], "f99(...)");
  }
}

TEST_F(ElisionTest, OfMoreTheMiddleIsCountedAndLeftOut) {
  for (const bool inlined : {false, true}) {
    for (const int frames : {101, 102, 250, 1000}) {
      const auto lines = FunctionLines(DeepStack(frames, inlined, false));
      ASSERT_EQ(lines.size(), 101u) << frames;
      EXPECT_EQ(lines[49], "f49(...)");
      EXPECT_EQ(lines[50], absl::StrCat("...", frames - 100, " frames elided..."));
      EXPECT_EQ(lines[51], absl::StrCat("f", frames - 50, "(...)"));
      EXPECT_EQ(lines[100], absl::StrCat("f", frames - 1, "(...)"));
    }
  }
}

TEST_F(ElisionTest, StackThatWasNotWalkedToItsRootSaysSo) {
  EXPECT_EQ(FunctionLines(DeepStack(2, false, true)).back(), "...additional frames elided...");
  EXPECT_EQ(FunctionLines(DeepStack(150, false, true)).back(), "...additional frames elided...");
}

// Every line of a dump is one of these, whatever users put into labels and names and linkers into symbols.
TEST_F(GoroutineTextTest, NothingForgesALine) {
  const std::string evil = "x]:\n\ngoroutine 666 [running]:\nmain.main()\n\t/a.go:1\r\n\xe2\x80\xa8\xff\x85\x1b[2J{}:";
  FakeSymbolizer symbolizer;
  symbolizer.Function(0x100, 0x200, {evil + "()", "", evil, 1, 1});
  TestFiber fiber = Waiting(1, {0x150, 0x160});
  fiber.snapshot.creator_pc = 0x150;
  fiber.snapshot.parent_id = {2};
  fiber.name = evil;
  fiber.labels = {{evil, evil}};
  const std::string text = Text(symbolizer, {fiber, fiber});

  const std::regex line(
      R"(goroutine 1 \[sleep\] \{[ -~]+\}:|[^\t ]+\(\.\.\.\)|\t[^\t]+:1 \+0x[0-9a-f]+|created by [^ ]+ in goroutine 2|)");
  std::istringstream lines(text);
  int count = 0;
  for (std::string text_line; std::getline(lines, text_line); ++count) {
    EXPECT_TRUE(std::regex_match(text_line, line)) << text_line;
  }
  EXPECT_EQ(count, 2 * 7 + 1);
}

// The readers' own rules (contract: gostackparse, panicparse v2, goleak), each as strict as the strictest of them, on
// every fiber that has no labels.
TEST_F(GoroutineTextTest, ReadersOfGoDumpsTakeEveryLine) {
  std::vector<TestFiber> fibers = shop_.fibers();
  for (TestFiber& fiber : fibers) {
    fiber.labels.clear();
    fiber.name.clear();
  }
  const std::regex header(R"(goroutine (\d+) \[([^,\]]+)(?:, (\d+) minutes)?\]:)");
  const std::regex function(R"([^()\t][^()]*(\([^()]*\)[^()]*)*\(\.\.\.\))");
  const std::regex file(R"(\t(.+):(\d+)( \+0x[0-9a-f]+)?)");
  const std::regex creator(R"(created by ([^ ]+)( in goroutine \d+)?)");
  const std::regex rest(R"(\tgoroutine running on other thread; stack unavailable|)");
  std::istringstream lines(Text(fibers));
  int headers = 0;
  for (std::string line; std::getline(lines, line);) {
    headers += std::regex_match(line, header);
    const bool known = std::regex_match(line, header) || std::regex_match(line, function) ||
                       std::regex_match(line, file) || std::regex_match(line, creator) || std::regex_match(line, rest);
    EXPECT_TRUE(known) << line;
  }
  EXPECT_EQ(headers, static_cast<int>(fibers.size()));
}

TEST_F(GoroutineTextTest, EachFiberIsOneWrite) {
  MeasuringSink sink;
  GoroutineTextEncoder encoder(shop_.symbolizer(), sink);
  for (const TestFiber& fiber : shop_.fibers()) ASSERT_TRUE(encoder.Write(fiber.View()).ok());
  EXPECT_EQ(sink.writes(), static_cast<int>(shop_.fibers().size()));
}

TEST_F(GoroutineTextTest, ErrorOfTheSinkIsReturned) {
  LeavingSink sink(10);
  GoroutineTextEncoder encoder(shop_.symbolizer(), sink);
  EXPECT_EQ(encoder.Write(shop_.fibers()[0].View()).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace fiberscope::pprof
