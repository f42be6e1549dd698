#include "runtime/fiber_pool.h"

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::internal {
namespace {

constexpr StackClass kClasses[] = {StackClass::k16KiB, StackClass::k64KiB, StackClass::k256KiB};

// A shard for the length of a test.
class FiberPoolTest : public ::testing::Test {
 protected:
  ~FiberPoolTest() override { pool_.ReturnShard(shard_); }

  ControlBlock& Take(StackClass stack_class) {
    absl::StatusOr<ControlBlock*> block = shard_.Take(stack_class);
    EXPECT_TRUE(block.ok()) << block.status();
    return **block;
  }

  FiberPool& pool_ = FiberPool::Instance();
  PoolShard& shard_ = pool_.BorrowShard();
};

TEST_F(FiberPoolTest, ABlockIsDeadAndHasAStackOfItsClass) {
  for (const StackClass stack_class : kClasses) {
    ControlBlock& block = Take(stack_class);
    EXPECT_EQ(block.state.Load().state(), FiberState::kDead);
    EXPECT_EQ(block.id.load(), 0u);
    EXPECT_EQ(block.next, nullptr);
    EXPECT_EQ(block.stack_class, stack_class);
    EXPECT_EQ(block.waiter.record, &block.wait);
    const StackBounds stack = block.stack();
    const StackBounds slot = StackSlab::ForClass(stack_class).Bounds(block.stack_slot);
    EXPECT_EQ(stack.low, slot.low);
    EXPECT_EQ(stack.high, slot.high);
    // Both ends can be used.
    *reinterpret_cast<volatile char*>(stack.low) = 1;
    *reinterpret_cast<volatile char*>(stack.high - 1) = 1;
    shard_.Give(block);
  }
}

TEST_F(FiberPoolTest, AStackAddressLeadsToItsBlock) {
  for (const StackClass stack_class : kClasses) {
    ControlBlock& block = Take(stack_class);
    const StackBounds stack = block.stack();
    EXPECT_EQ(pool_.BlockOfStack(stack.low), &block);
    EXPECT_EQ(pool_.BlockOfStack((stack.low + stack.high) / 2), &block);
    EXPECT_EQ(pool_.BlockOfStack(stack.high - 1), &block);
    EXPECT_EQ(pool_.BlockOfStack(stack.low - 1), &block) << "the guard page belongs to the stack above it";
    EXPECT_NE(pool_.BlockOfStack(stack.high), &block);
    shard_.Give(block);
  }
}

TEST_F(FiberPoolTest, OtherAddressesLeadNowhere) {
  int local = 0;
  EXPECT_EQ(pool_.BlockOfStack(reinterpret_cast<uintptr_t>(&local)), nullptr);
  EXPECT_EQ(pool_.BlockOfStack(0), nullptr);
  EXPECT_EQ(pool_.BlockOfStack(UINTPTR_MAX), nullptr);
  EXPECT_EQ(pool_.BlockOfStack(reinterpret_cast<uintptr_t>(&pool_)), nullptr);
}

TEST_F(FiberPoolTest, TheBlockGivenBackLastIsTakenFirst) {
  ControlBlock& first = Take(StackClass::k64KiB);
  ControlBlock& second = Take(StackClass::k64KiB);
  EXPECT_NE(&first, &second);
  shard_.Give(first);
  shard_.Give(second);
  EXPECT_EQ(&Take(StackClass::k64KiB), &second);
  EXPECT_EQ(&Take(StackClass::k64KiB), &first);
  shard_.Give(first);
  shard_.Give(second);
}

TEST_F(FiberPoolTest, NoBlockIsHandedOutTwice) {
  // More than a slab's batch of stacks, so that slabs are added, and more than two lots, so that surplus is given away.
  constexpr size_t kBlocks = 3000;
  for (int round = 0; round < 2; ++round) {
    std::set<ControlBlock*> taken;
    for (size_t i = 0; i < kBlocks; ++i) {
      ControlBlock& block = i % 7 == 0 ? **pool_.TakeShared(StackClass::k64KiB) : Take(StackClass::k64KiB);
      EXPECT_TRUE(taken.insert(&block).second);
    }
    std::set<uintptr_t> stacks;
    for (ControlBlock* const block : taken) stacks.insert(block->stack_high);
    EXPECT_EQ(stacks.size(), kBlocks);
    bool shared = false;
    for (ControlBlock* const block : taken) {
      if ((shared = !shared)) {
        shard_.Give(*block);
      } else {
        pool_.GiveShared(*block);
      }
    }
  }
}

TEST_F(FiberPoolTest, EveryBlockIsVisitedOnceInAFixedOrder) {
  std::vector<ControlBlock*> taken;
  for (const StackClass stack_class : kClasses) taken.push_back(&Take(stack_class));
  std::vector<ControlBlock*> first;
  std::vector<ControlBlock*> second;
  for (std::vector<ControlBlock*>* const list : {&first, &second}) {
    pool_.ForEachBlock([&](ControlBlock& block) {
      list->push_back(&block);
      return true;
    });
  }
  EXPECT_EQ(first, second);
  EXPECT_EQ(std::set<ControlBlock*>(first.begin(), first.end()).size(), first.size());
  for (ControlBlock* const block : taken) EXPECT_EQ(std::count(first.begin(), first.end(), block), 1);
  size_t visits = 0;
  pool_.ForEachBlock([&](ControlBlock&) { return ++visits < 5; });
  EXPECT_EQ(visits, 5u);
  for (ControlBlock* const block : taken) shard_.Give(*block);
}

TEST_F(FiberPoolTest, ShardsAreLentToOneAtATimeAndCountOn) {
  PoolShard& other = pool_.BorrowShard();
  EXPECT_NE(&other, &shard_);
  const uint64_t spawned = pool_.spawned();
  const uint64_t finished = pool_.finished();
  other.CountSpawned();
  other.CountSpawned();
  other.CountFinished();
  shard_.CountSpawned();
  pool_.CountSpawnedShared();
  EXPECT_EQ(pool_.spawned(), spawned + 4);
  EXPECT_EQ(pool_.finished(), finished + 1);
  pool_.ReturnShard(other);
  EXPECT_EQ(pool_.spawned(), spawned + 4) << "a shard that is not lent still counts";
  for (int i = 0; i < 3; ++i) shard_.CountFinished();
}

TEST_F(FiberPoolTest, BlocksOfAReturnedShardServeOthers) {
  PoolShard& other = pool_.BorrowShard();
  std::set<ControlBlock*> given;
  for (int i = 0; i < 64; ++i) given.insert(*other.Take(StackClass::k256KiB));
  for (ControlBlock* const block : given) other.Give(*block);
  pool_.ReturnShard(other);
  // What the shared list has comes before new slabs, so it is among as many as were ever made.
  size_t blocks = 0;
  pool_.ForEachBlock([&](ControlBlock& block) {
    blocks += block.stack_class == StackClass::k256KiB ? 1 : 0;
    return true;
  });
  std::vector<ControlBlock*> taken;
  size_t seen_again = 0;
  while (taken.size() < blocks && seen_again < given.size()) {
    taken.push_back(&Take(StackClass::k256KiB));
    seen_again += given.contains(taken.back()) ? 1 : 0;
  }
  EXPECT_EQ(seen_again, given.size());
  for (ControlBlock* const block : taken) shard_.Give(*block);
}

// Goal: no block is with two takers at a time. Method: threads with shards and without take and give; each block taken is marked.
TEST_F(FiberPoolTest, ThreadsTakeAndGiveAtTheSameTime) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      PoolShard& mine = pool_.BorrowShard();
      std::vector<ControlBlock*> held;
      for (int round = 0; round < kRounds; ++round) {
        if (held.size() < static_cast<size_t>(round * 31 % 300)) {
          ControlBlock* const block =
              t % 2 == 0 ? *mine.Take(StackClass::k32KiB) : *pool_.TakeShared(StackClass::k32KiB);
          EXPECT_EQ(block->stop_requests, 0u);  // not atomic: ThreadSanitizer sees a block in two hands
          block->stop_requests = 1;
          held.push_back(block);
        } else if (!held.empty()) {
          held.back()->stop_requests = 0;
          t % 2 == 0 ? mine.Give(*held.back()) : pool_.GiveShared(*held.back());
          held.pop_back();
        }
      }
      for (ControlBlock* const block : held) {
        block->stop_requests = 0;
        mine.Give(*block);
      }
      pool_.ReturnShard(mine);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace fiberscope::internal
