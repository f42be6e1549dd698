// Stacks of this test's own threads, with a symbolizer that knows two functions of this file by their addresses.
#include "pprof/current_stack.h"

#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Knows the functions below by their entry; an address belongs to the nearest entry at most 512 bytes before it.
class NearestSymbolizer : public Symbolizer {
 public:
  void Add(void* entry, std::string name) {
    const auto start = reinterpret_cast<uintptr_t>(entry);
    known_.push_back({{{std::move(name), "", "stack.cc", 1, 1}}, start});
  }
  const Symbolized& Lookup(uintptr_t pc) override {
    const Symbolized* nearest = &unknown_;
    for (const Symbolized& known : known_) {
      const bool within = known.function_start <= pc && pc < known.function_start + 512;
      if (within && known.function_start > nearest->function_start) nearest = &known;
    }
    return *nearest;
  }
  bool WaitForLines(std::chrono::milliseconds) override { return true; }

 private:
  const Symbolized unknown_;
  std::vector<Symbolized> known_;
};

struct Call {
  Symbolizer& symbolizer;
  StackOwner owner;
  int depth = 0;
  std::string text = {};
};

__attribute__((noinline)) void Inner(Call& call) {
  call.text = CurrentStackText(call.symbolizer, call.owner);
  asm volatile("" ::: "memory");  // no tail call
}

__attribute__((noinline)) void Outer(Call& call) {
  if (call.depth-- > 0) {
    Outer(call);
  } else {
    Inner(call);
  }
  asm volatile("" ::: "memory");
}

class CurrentStackTest : public testing::Test {
 protected:
  CurrentStackTest() {
    symbolizer_.Add(reinterpret_cast<void*>(&Inner), "Inner(Call&)");
    symbolizer_.Add(reinterpret_cast<void*>(&Outer), "Outer(Call&)");
  }

  std::string TextInThread(StackOwner owner, int depth) {
    std::string text;
    std::thread([&] {
      owner.stack = ThreadStackBounds();
      Call call{symbolizer_, owner, depth};
      Outer(call);
      text = call.text;
    }).join();
    return text;
  }

  NearestSymbolizer symbolizer_;
};

TEST_F(CurrentStackTest, BeginsWithTheCallerOfTheFunction) {
  EXPECT_THAT(TextInThread({.id = {7}}, 0), StartsWith("goroutine 7 [running]:\nInner(...)\n\tstack.cc:1 +0x"));
  EXPECT_THAT(TextInThread({.id = {7}}, 0), HasSubstr("\nOuter(...)\n\tstack.cc:1 +0x"));
}

TEST_F(CurrentStackTest, SaysWhoCalls) {
  EXPECT_THAT(TextInThread({.id = {8}, .name = "a\nb", .labels = Labels{{"k", "v"}}}, 0),
              StartsWith("goroutine 8 [running] {k: v, name: \"a\\nb\"}:\nInner(...)\n"));
  EXPECT_THAT(TextInThread({}, 0), StartsWith("goroutine 0 [running]:\nInner(...)\n")) << "a plain thread";
}

TEST_F(CurrentStackTest, DeepStacksAreElided) {
  EXPECT_THAT(TextInThread({}, 300), HasSubstr(" frames elided...\n"));
  EXPECT_THAT(TextInThread({}, 3000), EndsWith("...additional frames elided...\n"));
}

TEST_F(CurrentStackTest, WholeStacksAreNotElided) {
  EXPECT_THAT(TextInThread({}, 0), Not(HasSubstr("elided")));
  EXPECT_THAT(TextInThread({}, 90), Not(HasSubstr("elided")));
}

TEST_F(CurrentStackTest, WithoutBoundsThereIsNoStack) {
  Call call{symbolizer_, {.id = {9}}};
  Outer(call);
  EXPECT_EQ(call.text, "goroutine 9 [running]:\n\tgoroutine running on other thread; stack unavailable\n");
}

}  // namespace
}  // namespace fiberscope::pprof
