#include "runtime/stack/stack_bounds.h"

#include <pthread.h>

#include <thread>

#include "gtest/gtest.h"

namespace fiberscope {
namespace {

TEST(StackBoundsTest, ContainsWordsThatLieWhollyInside) {
  const StackBounds bounds{.low = 0x1000, .high = 0x2000};
  EXPECT_EQ(bounds.size(), 0x1000u);
  EXPECT_TRUE(bounds.ContainsWord(0x1000));
  EXPECT_TRUE(bounds.ContainsWord(0x2000 - sizeof(uintptr_t)));
  EXPECT_FALSE(bounds.ContainsWord(0x2000 - sizeof(uintptr_t) + 1));
  EXPECT_FALSE(bounds.ContainsWord(0xfff));
  EXPECT_FALSE(bounds.ContainsWord(0x2000));
  EXPECT_FALSE((StackBounds{.low = 8, .high = 12}).ContainsWord(8));
  EXPECT_FALSE(StackBounds().ContainsWord(0));
}

TEST(StackBoundsTest, LoadStackWordReadsTheWord) {
  const volatile uintptr_t word = 0x1234567890abcdef;
  EXPECT_EQ(LoadStackWord(reinterpret_cast<uintptr_t>(&word)), word);
}

void ExpectOwnFrameInside(StackBounds bounds) {
  const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  EXPECT_GT(here, bounds.low);
  EXPECT_LT(here, bounds.high);
}

TEST(ThreadStackBoundsTest, MainThread) { ExpectOwnFrameInside(ThreadStackBounds()); }

TEST(ThreadStackBoundsTest, OtherThreadHasItsOwn) {
  const StackBounds main = ThreadStackBounds();
  StackBounds other;
  std::thread thread([&] {
    other = ThreadStackBounds();
    ExpectOwnFrameInside(other);
  });
  thread.join();
  EXPECT_TRUE(other.high <= main.low || main.high <= other.low);
}

// What is reported as usable must not include the guard: every page of a small thread's stack is written to.
TEST(ThreadStackBoundsTest, EveryByteOfAThreadsStackIsUsable) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
  pthread_t thread;
  const auto touch_all = [](void*) -> void* {
    const StackBounds bounds = ThreadStackBounds();
    const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    uintptr_t sum = 0;
    for (uintptr_t address = bounds.low; address < here; address += 4096) sum += LoadStackWord(address);
    EXPECT_GE(bounds.size(), size_t{128} << 10);
    return reinterpret_cast<void*>(sum & 0);
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, touch_all, nullptr), 0);
  ASSERT_EQ(pthread_join(thread, nullptr), 0);
  pthread_attr_destroy(&attributes);
}

}  // namespace
}  // namespace fiberscope
