#include "pprof/fiber_page.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;

using Ids = std::vector<uint64_t>;

FiberSnapshot WithId(uint64_t id) {
  FiberSnapshot fiber;
  fiber.id = {id};
  return fiber;
}

FiberPage PageOf(const Ids& ids, const FiberPageOptions& options) {
  FiberPage page(options);
  for (const uint64_t id : ids) page.Offer(WithId(id));
  return page;
}

Ids IdsOf(const FiberPage& page) {
  Ids ids;
  page.ForEach([&ids](const FiberSnapshot& fiber) {
    ids.push_back(fiber.id.value);
    return true;
  });
  return ids;
}

uint64_t Next(const FiberPage& page) { return page.next_after().value_or(FiberId()).value; }

TEST(FiberPage, HoldsTheFirstOnesInOrderAndSaysWhereTheNextBegins) {
  const struct Row {
    Ids offered;
    uint64_t after;
    size_t limit;
    Ids page;
    uint64_t next;  // 0: none
  } rows[] = {
      {{}, 0, 2, {}, 0},
      {{5}, 0, 1, {5}, 0},
      {{5, 3}, 0, 2, {3, 5}, 0},
      {{5, 3, 9}, 0, 2, {3, 5}, 5},
      {{9, 5, 3, 7}, 0, 1, {3}, 3},
      {{9, 5, 3, 7}, 3, 2, {5, 7}, 7},
      {{9, 5, 3, 7}, 4, 3, {5, 7, 9}, 0},
      {{9, 5, 3, 7}, 9, 3, {}, 0},
      {{9, 5, 3, 7}, 100, 3, {}, 0},
  };
  for (const Row& row : rows) {
    const FiberPage page = PageOf(row.offered, {.after = {row.after}, .limit = row.limit});
    EXPECT_EQ(IdsOf(page), row.page) << row.after << " " << row.limit;
    EXPECT_EQ(Next(page), row.next) << row.after << " " << row.limit;
  }
}

TEST(FiberPage, PagesTogetherHoldEveryFiberOnceWhateverTheOrder) {
  std::mt19937 random(1);
  Ids all(1000);
  for (size_t i = 0; i < all.size(); ++i) all[i] = 1 + 3 * i;
  for (const size_t limit : {1, 7, 999, 1000, 1001}) {
    Ids seen;
    FiberPageOptions options{.limit = limit};
    for (bool more = true; more;) {
      Ids offered = all;
      std::shuffle(offered.begin(), offered.end(), random);
      const FiberPage page = PageOf(offered, options);
      const Ids ids = IdsOf(page);
      EXPECT_LE(ids.size(), limit);
      seen.insert(seen.end(), ids.begin(), ids.end());
      more = page.next_after().has_value();
      options.after = page.next_after().value_or(FiberId());
    }
    EXPECT_EQ(seen, all) << limit;
  }
}

TEST(FiberPage, KeepsCopiesOfWhatASnapshotPointsTo) {
  FiberPage page({.limit = 1});
  {
    std::string name = "worker";
    std::vector<Label> labels = {{"k", "v"}};
    std::vector<uintptr_t> stack = {1, 2, 3};
    FiberSnapshot fiber = WithId(4);
    fiber.state = FiberState::kWaiting;
    fiber.stack_available = true;
    fiber.name = name;
    fiber.labels = labels;
    fiber.stack = stack;
    page.Offer(fiber);
    name = "xxxxxx";
    labels[0] = {"x", "x"};
    stack = {0, 0, 0};
  }
  int visited = 0;
  page.ForEach([&visited](const FiberSnapshot& fiber) {
    ++visited;
    EXPECT_EQ(fiber.id.value, 4u);
    EXPECT_EQ(fiber.state, FiberState::kWaiting);
    EXPECT_TRUE(fiber.stack_available);
    EXPECT_EQ(std::string(fiber.name), "worker");
    EXPECT_THAT(fiber.labels, ElementsAre(Label{"k", "v"}));
    EXPECT_THAT(fiber.stack, ElementsAre(1, 2, 3));
    return true;
  });
  EXPECT_EQ(visited, 1);
}

// However deep the stacks are: a page gets shorter instead, and goes on where it ended.
TEST(FiberPage, EndsEarlyRatherThanTakeMoreMemory) {
  const std::vector<uintptr_t> deep(1000, 0x1000);
  FiberPageOptions options{.limit = 10, .max_bytes = 20'000};
  Ids seen;
  int pages = 0;
  for (bool more = true; more; ++pages) {
    FiberPage page(options);
    for (const uint64_t id : {3, 1, 5, 4, 2}) {
      FiberSnapshot fiber = WithId(id);
      fiber.stack = deep;
      page.Offer(fiber);
    }
    const Ids ids = IdsOf(page);
    EXPECT_LE(ids.size(), 2u);
    seen.insert(seen.end(), ids.begin(), ids.end());
    more = page.next_after().has_value();
    options.after = page.next_after().value_or(FiberId());
  }
  EXPECT_THAT(seen, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(pages, 3);
}

TEST(FiberPage, ASmallFiberDoesNotOvertakeALargeOneThatDidNotFit) {
  const std::vector<uintptr_t> deep(1500, 0x1000);
  FiberPage page({.limit = 10, .max_bytes = 20'000});
  for (const uint64_t id : {1, 2, 3}) {
    FiberSnapshot fiber = WithId(id);
    if (id != 3) fiber.stack = deep;
    page.Offer(fiber);
  }
  EXPECT_THAT(IdsOf(page), ElementsAre(1));
  EXPECT_EQ(Next(page), 1u);
}

TEST(FiberPage, TakesOneFiberHoweverLarge) {
  const std::vector<Label> labels = {{"k", std::string(1000, 'v')}};
  FiberPage page({.limit = 10, .max_bytes = 100});
  for (const uint64_t id : {2, 1}) {
    FiberSnapshot fiber = WithId(id);
    fiber.labels = labels;
    page.Offer(fiber);
  }
  EXPECT_THAT(IdsOf(page), ElementsAre(1));
  EXPECT_EQ(Next(page), 1u);
}

TEST(FiberPage, StopsWhenToldTo) {
  int visited = 0;
  PageOf({1, 2, 3}, {.limit = 3}).ForEach([&visited](const FiberSnapshot&) { return ++visited < 2; });
  EXPECT_EQ(visited, 2);
}

}  // namespace
}  // namespace fiberscope::pprof
