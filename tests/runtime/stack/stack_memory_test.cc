// Memory of this test's own in the place of stacks: pages, some of which cannot be read.
#include "runtime/stack/stack_memory.h"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope {
namespace {

constexpr size_t kPage = 4096;

class StackMemoryTest : public ::testing::Test {
 protected:
  static constexpr size_t kPages = 40;  // more than one system call reads
  void SetUp() override {
    void* const memory = mmap(nullptr, (kPages + 2) * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    low_ = reinterpret_cast<uintptr_t>(memory) + kPage;
    ASSERT_EQ(mprotect(reinterpret_cast<void*>(low_), kPages * kPage, PROT_READ | PROT_WRITE), 0);
    for (uintptr_t at = low_; at < high(); at += sizeof(uintptr_t)) *reinterpret_cast<uintptr_t*>(at) = ~at;
  }
  void TearDown() override { munmap(reinterpret_cast<void*>(low_ - kPage), (kPages + 2) * kPage); }
  uintptr_t high() const { return low_ + kPages * kPage; }

  void ExpectCopyOf(const StackMemory& stack, uintptr_t low, uintptr_t high) {
    ASSERT_EQ(stack.bounds, (StackBounds{low, high}));
    for (uintptr_t at = low; at < high; at += sizeof(uintptr_t)) ASSERT_EQ(stack.Load(at), ~at);
  }

  uintptr_t low_ = 0;
  alignas(16) std::array<std::byte, (kPages + 2) * kPage> copy_;
};

TEST_F(StackMemoryTest, InPlaceReadsTheWordItself) {
  const StackMemory stack = StackBounds{low_, high()};
  EXPECT_EQ(stack.Load(low_ + 8), ~(low_ + 8));
  EXPECT_EQ(stack.distance, 0u);
}

TEST_F(StackMemoryTest, ACopyGoesFromTheRedZoneToTheFirstPageThatCannotBeRead) {
  for (const uintptr_t sp : {low_ + 128, low_ + kPage, low_ + kPage + 64, low_ + 20 * kPage, high() - 16}) {
    ExpectCopyOf(CopyStack(sp, copy_), sp - 128, high());
  }
}

TEST_F(StackMemoryTest, AtTheLowEndTheRedZoneIsLeftOut) {
  ExpectCopyOf(CopyStack(low_, copy_), low_, high());
  ExpectCopyOf(CopyStack(low_ + 120, copy_), low_, high());
}

TEST_F(StackMemoryTest, AnOddStackPointerIsRoundedDown) {
  ExpectCopyOf(CopyStack(low_ + 1001, copy_), low_ + 864, high());
}

TEST_F(StackMemoryTest, ASmallBufferHoldsTheInnermostPart) {
  ExpectCopyOf(CopyStack(low_ + 256, std::span(copy_).first(kPage)), low_ + 128, low_ + 128 + kPage);
}

TEST_F(StackMemoryTest, WhatCannotBeReadIsNothing) {
  for (const uintptr_t sp : {uintptr_t{0}, uintptr_t{64}, ~uintptr_t{0}, ~uintptr_t{15}, low_ - 8, high(), high() + 200}) {
    const StackMemory stack = CopyStack(sp, copy_);
    EXPECT_FALSE(stack.bounds.ContainsWord(sp)) << sp;
  }
}

TEST_F(StackMemoryTest, PagesThatComeAndGoMeanwhileNeverFault) {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      void* const page = reinterpret_cast<void*>(low_ + 5 * kPage);
      munmap(page, kPage);
      mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    }
  });
  for (int i = 0; i < 2'000; ++i) {
    const StackMemory stack = CopyStack(low_ + 128, copy_);
    EXPECT_GE(stack.bounds.high, low_ + 5 * kPage);
    EXPECT_EQ(stack.Load(low_ + 4 * kPage), ~(low_ + 4 * kPage));
  }
  stop = true;
  other.join();
}

}  // namespace
}  // namespace fiberscope
