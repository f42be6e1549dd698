#include "pprof/machinery.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;

TEST(Machinery, IsToldByTheName) {
  struct {
    const char* demangled;
    bool machinery;
    bool root;
  } const cases[] = {
      {"fiberscope::internal::Park(fiberscope::WaitReason)", true, false},
      {"fiberscope::Channel<int>::Send(int)", true, false},
      {"void fiberscope::Spawn<main::{lambda()#1}>(main::{lambda()#1})", true, false},
      {"fiberscope_switch_context", true, false},
      {"fiberscope_fiber_entry", true, true},
      {"fiberscope::internal::FiberMain(void*)", true, true},
      {"fiberscope::internal::(anonymous namespace)::FiberMain(void*)", true, true},
      {"fiberscope::internal::FiberMain() [clone .cold]", true, true},
      {"void fiberscope::internal::RunEntry<void (*)()>(void*)", true, true},
      {"fiberscope::internal::RunEntry<F>(F&)::{lambda()#1}::operator()() const", true, true},
      {"fiberscope::internal::FiberMainframe()", true, false},
      {"fiberscope::internal::RunEntryPoint()", true, false},
      {"main", false, false},
      {"demo::OrderStage::Run()", false, false},
      {"user::fiberscope::Look()", false, false},
      {"fiberscopes::Look()", false, false},
      {"void user::Apply<fiberscope::Fiber>(fiberscope::Fiber&)", false, false},
      {"fiberscope::Fiber user::Make()", false, false},
      {"", false, false},
  };
  for (const auto& c : cases) {
    const Frame frame{.function = c.demangled};
    EXPECT_EQ(IsMachinery(frame), c.machinery) << c.demangled;
    EXPECT_EQ(IsRootMachinery(frame), c.root) << c.demangled;
  }
}

TEST(Machinery, IsToldByTheFileWhereTheNameIsIncomplete) {
  struct {
    const char* file;
    bool machinery;
    bool root;
  } const cases[] = {
      {"runtime/this_fiber.cc", true, false},
      {"runtime/io/use_fiber.h", true, false},
      {"runtime/spawn.h", true, true},
      {"runtime/scope.h", true, true},
      {"runtime/pool.h", true, true},
      {"runtime/pool.cc", true, true},
      {"runtime", false, false},
      {"/usr/include/runtime/spawn.h", false, false},
      {"app/runtime/spawn.h", false, false},
      {"pprof/machinery.cc", false, false},
      {"", false, false},
  };
  for (const auto& c : cases) {
    const Frame frame{.function = "SleepUntilNs", .file = c.file};
    EXPECT_EQ(IsMachinery(frame), c.machinery) << c.file;
    EXPECT_EQ(IsRootMachinery(frame), c.root) << c.file;
  }
}

TEST(Machinery, ASpawnedLambdaIsNamedAfterItsType) {
  const Frame lambda{.function = "operator()", .file = "app/shop.cc"};
  const Frame glue{.function = "void fiberscope::internal::RunEntry<shop::Start()::{lambda()#1}>(void*, bool)"};
  const Frame named{.function = "shop::Start()::{lambda()#1}::operator()()", .file = "app/shop.cc"};
  const Frame helper{.function = "Help", .file = "app/shop.cc"};
  EXPECT_THAT(UserFrames(std::vector{lambda, glue}), ElementsAre(named));
  EXPECT_THAT(UserFrames(std::vector{helper, lambda, glue}), ElementsAre(helper, named));
  EXPECT_THAT(UserFrames(std::vector{lambda, helper, glue}), ElementsAre(lambda, helper)) << "some other lambda";
  EXPECT_THAT(UserFrames(std::vector{lambda}), ElementsAre(lambda));
  const Frame cut{.function = "fiberscope::internal::RunEntry"};
  EXPECT_THAT(UserFrames(std::vector{lambda, cut}), ElementsAre(lambda)) << "no type in the name";
}

TEST(Machinery, ALambdaInAScopeOrAPoolIsNamedAfterItsType) {
  struct {
    const char* glue;
    const char* lambda;
  } const cases[] = {
      {"void fiberscope::internal::RunEntry<shop::Sell(std::map<int, int>)::{lambda()#1}>(void*, bool)",
       "shop::Sell(std::map<int, int>)::{lambda()#1}::operator()()"},
      {"void fiberscope::internal::RunEntry<fiberscope::internal::ScopedFiber<shop::Sell()::{lambda()#1}> >(void*, bool)",
       "shop::Sell()::{lambda()#1}::operator()()"},
      {"void fiberscope::internal::RunEntry<shop::Sell<int>()::{lambda()#1}::Inner<int> >(void*, bool)",
       "shop::Sell<int>()::{lambda()#1}::Inner<int>::operator()()"},
      {"fiberscope::internal::ScopedFiber<shop::Sell()::{lambda()#2}>::operator()()", "shop::Sell()::{lambda()#2}::operator()()"},
      {"fiberscope::internal::FutureTask<std::map<int, long>, shop::Sell(int, char)::{lambda()#1}>::Run()",
       "shop::Sell(int, char)::{lambda()#1}::operator()()"},
      {"fiberscope::internal::CallbackTask<void, shop::Sell()::{lambda()#1}, shop::Sell()::{lambda()#2}>::Run()",
       "shop::Sell()::{lambda()#1}::operator()()"},
      {"void fiberscope::internal::RunEntry<shop::operator<(A, B)::{lambda()#1}>(void*, bool)",
       "shop::operator<(A, B)::{lambda()#1}::operator()()"},
      {"void fiberscope::internal::RunEntry<shop::Pointer::operator->()::{lambda()#1}>(void*, bool)",
       "shop::Pointer::operator->()::{lambda()#1}::operator()()"},
      // Nothing that could be used.
      {"fiberscope::internal::FutureTask<int>::Run()", "operator()"},
      {"fiberscope::internal::FutureTask<int, ", "operator()"},
      {"fiberscope::internal::FutureTask<>::Run()", "operator()"},
      {"void fiberscope::internal::RunEntry<shop::operator<", "operator()"},
      {"void fiberscope::internal::RunEntry<shop::Sell(>)", "operator()"},
  };
  for (const auto& each : cases) {
    const Frame lambda{.function = "operator()", .file = "app/shop.cc"};
    const Frame glue{.function = each.glue, .file = "runtime/pool.h"};
    EXPECT_EQ(UserFrames(std::vector{lambda, glue}).back().function, each.lambda) << each.glue;
  }
}

TEST(Machinery, RootIsCutOffAStackAndNothingElse) {
  Shop shop;
  const auto shown = [&shop](std::vector<uintptr_t> stack, uintptr_t entry_pc) {
    return UserStack(stack, entry_pc, shop.symbolizer());
  };
  const uintptr_t entry = Shop::kWorkerEntry;
  EXPECT_THAT(shown({Shop::kPark, Shop::kWorker, Shop::kRunWorker, Shop::kFiberMain, Shop::kTrampoline}, entry),
              ElementsAre(Shop::kPark, Shop::kWorker));
  EXPECT_THAT(shown({Shop::kRunLambda, Shop::kFiberMain}, entry), ElementsAre(Shop::kRunLambda))
      << "the user's lambda is inlined there";
  EXPECT_THAT(shown({Shop::kFiberMain, Shop::kWorker}, entry), ElementsAre(Shop::kFiberMain, Shop::kWorker))
      << "only at the outer end";
  EXPECT_THAT(shown({Shop::kNowhere, Shop::kTrampoline}, entry), ElementsAre(Shop::kNowhere));
}

TEST(Machinery, FiberThatIsNothingButRootIsAtItsEntry) {
  Shop shop;
  const std::vector<uintptr_t> root = {Shop::kRunWorker, Shop::kTrampoline};
  EXPECT_THAT(UserStack(root, Shop::kWorkerEntry, shop.symbolizer()), ElementsAre(Shop::kWorkerEntry + 1));
  EXPECT_THAT(UserStack({}, Shop::kWorkerEntry, shop.symbolizer()), ElementsAre(Shop::kWorkerEntry + 1));
  EXPECT_EQ(UserStack(root, 0, shop.symbolizer()), root) << "better than nothing";
  EXPECT_THAT(UserStack({}, 0, shop.symbolizer()), ElementsAre());
}

TEST(Machinery, RootFramesAreCutOffAnAddress) {
  const Frame user{"user::Run()", "_ZN4user3RunEv", "", 0, 0};
  const Frame glue{"void fiberscope::internal::RunEntry<int>(void*)", "_Z", "", 0, 0};
  const auto trim = [](std::vector<Frame> frames) { return UserFrames(frames).size(); };
  EXPECT_EQ(trim({user, glue}), 1u);
  EXPECT_EQ(trim({user, glue, glue}), 1u);
  EXPECT_EQ(trim({glue, user}), 2u);
  EXPECT_EQ(trim({glue}), 1u) << "better than nothing";
  EXPECT_EQ(trim({}), 0u);
}

}  // namespace
}  // namespace fiberscope::pprof
