#include "runtime/executor.h"

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

namespace asio = boost::asio;

static_assert(asio::execution::is_executor<SchedulerExecutor>::value);
static_assert(std::is_convertible_v<SchedulerExecutor, asio::any_io_executor>);

class ExecutorTest : public testing::RuntimeTest {
 protected:
  SchedulerExecutor executor() { return scheduler().get_executor(); }
};

TEST_P(ExecutorTest, EachPostedFunctionRunsOnAFiberOfItsOwn) {
  Channel<FiberId> ids(2);
  for (int i = 0; i < 2; ++i) {
    asio::post(executor(), [&] {
      EXPECT_EQ(this_fiber::name(), "asio");
      ids.Send(this_fiber::id());
    });
  }
  const FiberId first = *ids.Receive();
  const FiberId second = *ids.Receive();
  EXPECT_TRUE(first);
  EXPECT_TRUE(second);
  EXPECT_NE(first, second);
}

TEST_P(ExecutorTest, APostedFunctionMayPark) {
  Channel<int> in;
  Channel<int> out;
  asio::post(executor(), [&] { out.Send(*in.Receive() + 1); });
  in.Send(41);
  EXPECT_EQ(out.Receive(), 42);
}

struct Row {
  const char* name;
  bool inline_on_fiber;  // on a fiber of this scheduler
  void (*submit)(const SchedulerExecutor&, std::function<void()>);
};
const Row kTable[] = {
    {"dispatch", true, [](const SchedulerExecutor& e, std::function<void()> f) { asio::dispatch(e, std::move(f)); }},
    {"post", false, [](const SchedulerExecutor& e, std::function<void()> f) { asio::post(e, std::move(f)); }},
    {"defer", false, [](const SchedulerExecutor& e, std::function<void()> f) { asio::defer(e, std::move(f)); }},
    {"execute, blocking.possibly", true,
     [](const SchedulerExecutor& e, std::function<void()> f) {
       asio::require(e, asio::execution::blocking.possibly).execute(std::move(f));
     }},
    {"execute, blocking.never", false,
     [](const SchedulerExecutor& e, std::function<void()> f) {
       asio::require(e, asio::execution::blocking.never).execute(std::move(f));
     }},
};

TEST_P(ExecutorTest, OnlyDispatchOnAFiberOfTheSchedulerCallsInline) {
  Scheduler other({.processors = 1, .name = "other"});
  for (const Row& row : kTable) {
    SCOPED_TRACE(row.name);
    RunInFiber([&] {
      Channel<FiberId> ran(1);
      row.submit(executor(), [&] { ran.Send(this_fiber::id()); });
      EXPECT_EQ(*ran.Receive() == this_fiber::id(), row.inline_on_fiber);
      row.submit(other.get_executor(), [&] { ran.Send(this_fiber::id()); });
      EXPECT_NE(*ran.Receive(), this_fiber::id()) << "another scheduler's executor";
    });
    Channel<FiberId> ran(1);
    row.submit(executor(), [&] { ran.Send(this_fiber::id()); });
    EXPECT_TRUE(*ran.Receive()) << "from a plain thread";
  }
}

TEST_P(ExecutorTest, PropertiesSayWhatItDoes) {
  const SchedulerExecutor possibly = executor();
  const SchedulerExecutor never = asio::require(possibly, asio::execution::blocking.never);
  EXPECT_EQ(asio::query(possibly, asio::execution::blocking), asio::execution::blocking.possibly);
  EXPECT_EQ(asio::query(never, asio::execution::blocking), asio::execution::blocking.never);
  EXPECT_EQ(asio::query(possibly, asio::execution::mapping), asio::execution::mapping.thread);
  EXPECT_EQ(&asio::query(possibly, asio::execution::context), &asio::query(never, asio::execution::context));
  EXPECT_NE(possibly, never);
  EXPECT_EQ(possibly, executor());
  EXPECT_EQ(asio::require(never, asio::execution::blocking.possibly), possibly);
  const asio::any_io_executor any = possibly;
  EXPECT_EQ(any, asio::any_io_executor(executor()));
  Scheduler other({.processors = 1, .name = "other"});
  EXPECT_NE(possibly, other.get_executor());
}

TEST_P(ExecutorTest, FunctionsThatCanOnlyBeMovedAndCalledOnceRun) {
  Channel<int> out(1);
  struct Once {
    std::unique_ptr<int> value;
    Channel<int>& out;
    void operator()() && { out.Send(*value); }
  };
  asio::any_io_executor any = executor();
  asio::post(executor(), Once{std::make_unique<int>(5), out});
  EXPECT_EQ(out.Receive(), 5);
  asio::post(any, Once{std::make_unique<int>(6), out});
  EXPECT_EQ(out.Receive(), 6);
}

TEST_P(ExecutorTest, ATimersHandlerRunsOnAFiber) {
  Channel<bool> fired(1);
  asio::steady_timer timer(executor(), std::chrono::milliseconds(1));
  timer.async_wait([&](const boost::system::error_code& error) { fired.Send(!error && this_fiber::id()); });
  EXPECT_EQ(fired.Receive(), true);
  timer.expires_after(std::chrono::hours(1));
  timer.async_wait([&](const boost::system::error_code& error) { fired.Send(error == asio::error::operation_aborted); });
  timer.cancel();
  EXPECT_EQ(fired.Receive(), true);
}

asio::awaitable<int> SumOfTwoWaits(int value) {
  asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(1));
  co_await timer.async_wait(asio::use_awaitable);
  EXPECT_TRUE(this_fiber::id());
  timer.expires_after(std::chrono::microseconds(10));
  co_await timer.async_wait(asio::use_awaitable);
  co_return value + 1;
}

TEST_P(ExecutorTest, CoroutinesRun) {
  std::future<int> result = asio::co_spawn(executor(), SumOfTwoWaits(41), asio::use_future);
  EXPECT_EQ(result.get(), 42);
}

TEST_P(ExecutorTest, AnExceptionOfACoroutineReachesItsFuture) {
  const auto fails = []() -> asio::awaitable<void> {
    co_await asio::post(asio::use_awaitable);
    throw std::runtime_error("from the coroutine");
  };
  std::future<void> result = asio::co_spawn(executor(), fails(), asio::use_future);
  EXPECT_THROW(result.get(), std::runtime_error);
}

TEST_P(ExecutorTest, AStrandRunsOneAtATimeInOrder) {
  const auto strand = asio::make_strand(executor());
  std::vector<int> order;  // not locked: the strand orders the accesses
  Channel<int> done(1);
  for (int i = 0; i < 500; ++i) asio::post(strand, [&, i] { order.push_back(i); });
  asio::post(strand, [&] { done.Send(1); });
  done.Receive();
  ASSERT_EQ(order.size(), 500u);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST_P(ExecutorTest, ManyThreadsMayPostAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  const SchedulerExecutor executor = scheduler().get_executor();
  std::atomic<int> ran{0};
  WaitGroup group;
  group.Add(kThreads * kEach);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        asio::post(executor, [&] {
          ++ran;
          group.Done();
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  group.Wait();
  EXPECT_EQ(ran, kThreads * kEach);
}

TEST_P(ExecutorTest, AfterStopFunctionsAreDestroyedWithoutBeingCalled) {
  const auto alive = std::make_shared<int>(0);
  const SchedulerExecutor late = executor();
  scheduler().Stop();
  asio::post(late, [alive] { ADD_FAILURE() << "ran"; });
  asio::dispatch(late, [alive] { ADD_FAILURE() << "ran"; });
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_P(ExecutorTest, HandlersThatAreLeftAtTheEndAreDestroyed) {
  const auto alive = std::make_shared<int>(0);
  {
    Scheduler local({.processors = GetParam()});
    auto timer = std::make_shared<asio::steady_timer>(local.get_executor(), std::chrono::hours(1));
    timer->async_wait([alive, timer](const boost::system::error_code&) { ADD_FAILURE() << "ran"; });
  }
  EXPECT_EQ(alive.use_count(), 1);
}

INSTANTIATE_TEST_SUITE_P(Processors, ExecutorTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
