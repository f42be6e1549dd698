// Goal: every frame that compilers, libraries and assembly can put on a stack is walked as libgcc's unwinder walks it.
// Method: each case leads by a different road to Here(), which takes both views of the stack.
#include "runtime/unwind/unwinder.h"

#include <alloca.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <ostream>
#include <stdexcept>
#include <streambuf>
#include <thread>
#include <vector>

#include "tests/runtime/unwind/foreign_frames.h"
#include "tests/runtime/unwind/stack_truth.h"

namespace fiberscope {
namespace {

using testing::TwoViews;
using testing::UnwindBothWays;

// Keeps the compiler from folding a case away.
volatile int g_seven = 7;

TwoViews g_views;
bool g_reached;

__attribute__((noinline)) int Here() {
  if (g_reached) return g_seven;
  g_reached = true;
  UnwindBothWays(g_views);
  return g_seven;
}

extern "C" int CallHere() { return Here(); }

struct Road {
  const char* name;
  void (*walk)();
};

void PrintTo(const Road& road, std::ostream* os) { *os << road.name; }

class UnwinderRoadTest : public ::testing::TestWithParam<Road> {};

TEST_P(UnwinderRoadTest, GivesTheSameStackAsLibgcc) {
  UnwindTable::Refresh();
  g_reached = false;

  GetParam().walk();

  ASSERT_TRUE(g_reached);
  EXPECT_TRUE(g_views.Agree()) << g_views.Describe();
}

// Each takes a value and uses it afterwards, so that it needs a frame of its own and keeps something in it.
__attribute__((noinline)) int Recurse(int depth) { return depth == 0 ? Here() : Recurse(depth - 1) % 100 * 3 + g_seven; }

__attribute__((noinline)) int CompareByHere(const void* a, const void* b) {
  Here();
  return *static_cast<const int*>(a) - *static_cast<const int*>(b);
}

__attribute__((noinline)) int Aligned(int x) {
  alignas(64) volatile char buffer[128];
  buffer[x] = static_cast<char>(x);
  return Here() + buffer[x] + static_cast<int>(reinterpret_cast<uintptr_t>(buffer) & 63);
}

__attribute__((noinline)) int AlignedWithAlloca(int x) {
  alignas(64) volatile char buffer[128];
  auto* room = static_cast<volatile char*>(alloca(x * 16));
  buffer[x] = static_cast<char>(x);
  room[0] = static_cast<char>(x);
  return Here() + buffer[x] + room[0];
}

__attribute__((noinline)) int VariableLength(int x) {
  volatile char buffer[x * 8];  // NOLINT: a GNU extension, and the point
  buffer[x] = static_cast<char>(x);
  return Here() + buffer[x];
}

__attribute__((noinline)) int ManyArguments(int a, int b, int c, int d, int e, int f, int g, int h, int i) {
  return Here() + a + b + c + d + e + f + g + h + i;
}

__attribute__((noinline)) int BigFrame(int x) {
  volatile char buffer[100'000];
  buffer[x] = static_cast<char>(x);
  return Here() + buffer[x];
}

__attribute__((noinline)) int Doubles(double x) {
  volatile double kept = x;
  return Here() + static_cast<int>(kept * 2.5);
}

struct UnwindsInDestructor {
  ~UnwindsInDestructor() { Here(); }
};

__attribute__((noinline)) void ThrowPastDestructor() {
  UnwindsInDestructor guard;
  if (g_seven) throw std::runtime_error("past the destructor");
}

__attribute__((noinline, cold)) int Cold() { return Here() + g_seven; }

// The error path moves to .text.unlikely, away from the rest of its function.
__attribute__((noinline)) int WithColdPart(int x) {
  if (__builtin_expect(x > 5, 0)) {
    char text[32];
    std::memset(text, Cold(), sizeof(text));
    throw std::runtime_error(std::string(text, sizeof(text)));
  }
  return x;
}

// The call is the function's last instruction: its return address belongs to the next function.
[[noreturn]] __attribute__((noinline)) void EndsWithCall() {
  Here();
  throw 1;
}

__attribute__((noinline)) int CallsNoReturn(int x) {
  if (x) EndsWithCall();
  return 3;
}

struct Base {
  virtual int Reach() = 0;
  virtual ~Base() = default;
};
struct Derived : Base {
  int Reach() override { return Here() + g_seven; }
};
__attribute__((noinline)) int CallVirtual(Base* base) { return base->Reach() + g_seven; }

struct HereOnWrite : std::streambuf {
  int overflow(int c) override {
    Here();
    return c;
  }
  std::streamsize xsputn(const char*, std::streamsize n) override {
    Here();
    return n;
  }
};

struct HereOnConstruction {
  HereOnConstruction() { value = Here(); }
  int value;
};
thread_local HereOnConstruction t_constructed;

const Road kRoads[] = {
    {"PlainCall", [] { g_seven = Here(); }},
    {"Recursion", [] { Recurse(20); }},
    {"QsortInLibc",
     [] {
       int values[] = {3, 1, 2};
       std::qsort(values, 3, sizeof(int), CompareByHere);
     }},
    {"BsearchInLibc",
     [] {
       int values[] = {1, 2, 3, 4, 5};
       const int key = 4;
       EXPECT_NE(std::bsearch(&key, values, 5, sizeof(int), CompareByHere), nullptr);
     }},
    {"StdSortComparator",
     [] {
       std::vector<int> values(40, 7);
       std::sort(values.begin(), values.end(), [](int a, int b) { return Here() + a < b; });
     }},
    {"StdFunction",
     [] {
       std::function<int(int)> function = [](int x) { return Here() + x; };
       g_seven = function(g_seven) - g_seven;
     }},
    {"CallOnce",
     [] {
       std::once_flag once;
       std::call_once(once, [] { Here(); });
     }},
    {"StackRealignedTo64Bytes", [] { Aligned(5); }},
    {"StackRealignedWithAlloca", [] { AlignedWithAlloca(5); }},
    {"VariableLengthArray", [] { VariableLength(5); }},
    {"ArgumentsOnTheStack", [] { ManyArguments(1, 2, 3, 4, 5, 6, 7, 8, 9); }},
    {"FrameOf100Kilobytes", [] { BigFrame(5); }},
    {"FloatingPoint", [] { Doubles(2.5); }},
    {"DestructorRunByException",
     [] {
       try {
         ThrowPastDestructor();
       } catch (const std::runtime_error&) {
       }
     }},
    {"InsideCatch",
     [] {
       try {
         throw std::runtime_error("caught");
       } catch (const std::exception&) {
         Here();
       }
     }},
    {"ColdPartOfAFunction", [] { EXPECT_THROW(WithColdPart(g_seven), std::runtime_error); }},
    {"CallAtTheEndOfAFunction", [] { EXPECT_THROW(CallsNoReturn(g_seven), int); }},
    {"VirtualCall",
     [] {
       Derived derived;
       CallVirtual(&derived);
     }},
    {"MapComparator",
     [] {
       struct Less {
         bool operator()(int a, int b) const { return Here() + a < b + g_seven; }
       };
       std::map<int, int, Less> map;
       for (int i = 0; i < 20; ++i) map[i] = i;
     }},
    {"StreamBufferUnderOstream",
     [] {
       HereOnWrite buffer;
       std::ostream(&buffer) << "abc" << 12;
     }},
    {"ThreadLocalInitialisation", [] { std::thread([] { g_seven = t_constructed.value; }).join(); }},
    {"RootOfAThread", [] { std::thread(Here).join(); }},
    {"SignalHandlerOnTheSameStack",
     [] {
       testing::ThreadStack();  // what it allocates it may not allocate in a handler
       const auto previous = signal(SIGUSR1, [](int) { Here(); });
       raise(SIGUSR1);
       signal(SIGUSR1, previous);
     }},
    {"FrameAddressInRbx", [] { CallWithCfaInRbx(CallHere); }},
    {"FrameAddressInR12BelowFramesThatSaveIt", [] { CallWithCfaInR12(CallHere); }},
    {"FrameAddressByExpression", [] { CallWithCfaByExpression(CallHere); }},
    {"ReturnAddressNotBelowFrameAddress", [] { CallWithMovedReturnAddress(CallHere); }},
};

INSTANTIATE_TEST_SUITE_P(Roads, UnwinderRoadTest, ::testing::ValuesIn(kRoads),
                         [](const auto& info) { return std::string(info.param.name); });

// Goal: a walk that starts from pc and sp alone is right as far as it goes, and goes as far as it can be right.
// Method: what CallThinly() tells is what the kernel tells of a thread that sleeps in a system call.
class UnwindFromPcAndSpTest : public ::testing::Test {
 protected:
  void SetUp() override {
    UnwindTable::Refresh();
    testing::ThreadStack();
    g_thin_callee = [](uintptr_t pc, uintptr_t sp) {
      pcs_.fill(0);
      result_ = UnwindFromPcAndSp(*UnwindTable::Current(), pc, sp, testing::ThreadStack(), pcs_);
      return g_seven;
    };
  }

  template <typename Function>
  static bool IsIn(size_t frame, Function* function) {
    return pcs_[frame] - reinterpret_cast<uintptr_t>(function) - 1 < 64;
  }

  static inline std::array<uintptr_t, 128> pcs_;
  static inline UnwindResult result_;
};

TEST_F(UnwindFromPcAndSpTest, EndsAtAFrameWhoseAddressIsInARegisterThatNobodyKnows) {
  CallWithCfaInRbx(CallThinly);
  EXPECT_EQ(result_.end, UnwindEnd::kUnknownRegister);
  ASSERT_EQ(result_.depth, 2u);
  EXPECT_TRUE(IsIn(0, CallThinly));
  EXPECT_TRUE(IsIn(1, CallWithCfaInRbx));

  CallWithMovedReturnAddress(CallThinly);
  EXPECT_EQ(result_.end, UnwindEnd::kUnknownRegister);
  ASSERT_EQ(result_.depth, 2u);
  EXPECT_TRUE(IsIn(1, CallWithMovedReturnAddress));
}

TEST_F(UnwindFromPcAndSpTest, ARegisterThatAFrameHasSavedIsKnownAgain) {
  CallWithCfaInR12(CallThinly);
  // It goes on beyond the frame that needs r12, until one needs rbp (which depends on how the compiler builds this function).
  ASSERT_GE(result_.depth, 4u);
  EXPECT_TRUE(IsIn(0, CallThinly));
  EXPECT_TRUE(IsIn(2, CallWithCfaInR12));
}

TEST_F(UnwindFromPcAndSpTest, ReachesTheRootOfCodeWithFramePointersOnceTheirChainIsKnown) {
  CallWithRbpOverwritten(CallThinly);
  EXPECT_EQ(result_.end, UnwindEnd::kRoot);
  EXPECT_GT(result_.depth, 4u);
  EXPECT_TRUE(IsIn(1, CallWithRbpOverwritten));
}

TEST_F(UnwindFromPcAndSpTest, ExpressionsAreEvaluatedFromWhatIsKnown) {
  CallWithCfaByExpression(CallThinly);
  ASSERT_GE(result_.depth, 3u);
  EXPECT_TRUE(IsIn(1, CallWithCfaByExpression));
}

}  // namespace
}  // namespace fiberscope
