#include "runtime/io/use_fiber.h"

#include <sched.h>

#include <array>
#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/context.h"
#include "runtime/scope.h"
#include "runtime/wait_cancelled.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

class CancelIoTest : public testing::RuntimeTest {
 protected:
  // Two ends of a connection over the loopback interface. On a fiber.
  std::pair<tcp::socket, tcp::socket> Connect() {
    tcp::acceptor acceptor(scheduler().get_executor(), tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    tcp::socket client(scheduler().get_executor());
    Scope scope;
    scope.Spawn([&] { client.async_connect(acceptor.local_endpoint(), use_fiber); });
    tcp::socket server = acceptor.async_accept(use_fiber);
    scope.Join();
    return {std::move(client), std::move(server)};
  }
};

TEST_P(CancelIoTest, ReadsAndWritesOverTcp) {
  RunInFiber([&] {
    auto [client, server] = Connect();
    EXPECT_EQ(asio::async_write(client, asio::buffer("hello", 5), use_fiber), 5u);
    std::array<char, 5> bytes;
    error_code error;
    EXPECT_EQ(asio::async_read(server, asio::buffer(bytes), use_fiber[error]), 5u);
    EXPECT_FALSE(error);
    EXPECT_EQ(std::string(bytes.data(), bytes.size()), "hello");
    client.close();
    EXPECT_EQ(server.async_read_some(asio::buffer(bytes), use_fiber[error]), 0u);
    EXPECT_EQ(error, asio::error::eof);
  });
}

TEST_P(CancelIoTest, AReadTimesOutWithWhatItHasRead) {
  RunInFiber([&] {
    auto [client, server] = Connect();
    std::array<char, 8> bytes;
    error_code error;
    EXPECT_EQ(server.async_read_some(asio::buffer(bytes), use_fiber[error].timeout(milliseconds(1))), 0u);
    EXPECT_EQ(error, asio::error::timed_out);
    asio::async_write(client, asio::buffer("abc", 3), use_fiber);
    EXPECT_EQ(asio::async_read(server, asio::buffer(bytes), use_fiber[error].timeout(milliseconds(5))), 3u)
        << "a composed operation keeps its bytes";
    EXPECT_EQ(error, asio::error::timed_out);
    try {
      server.async_read_some(asio::buffer(bytes), use_fiber.timeout(milliseconds(1)));
      ADD_FAILURE() << "returned";
    } catch (const boost::system::system_error& thrown) {
      EXPECT_EQ(thrown.code(), asio::error::timed_out);
    }
    // The connection is as good as before.
    asio::async_write(client, asio::buffer("d", 1), use_fiber);
    EXPECT_EQ(server.async_read_some(asio::buffer(bytes), use_fiber[error].timeout(hours(1))), 1u);
    EXPECT_FALSE(error);
  });
}

TEST_P(CancelIoTest, AConnectionIsDroppedByCancellingItsFiber) {
  const CancelSource source = Context().WithCancel();
  RunInFiber([&] {
    auto [client, server] = Connect();
    error_code error;
    std::atomic<bool> reading{false};
    const Fiber session = Spawn(
        [&, socket = std::move(server)]() mutable {
          std::array<char, 64> bytes;
          reading = true;
          EXPECT_EQ(asio::async_read(socket, asio::buffer(bytes), use_fiber[error]), 0u);
        },
        {.context = source.context()});
    while (!reading) this_fiber::Yield();
    AwaitState(session, FiberState::kWaiting);
    source.Cancel();
    session.Join();
    EXPECT_EQ(error, asio::error::operation_aborted);
    // The socket went with its fiber's function: the peer sees the end.
    std::array<char, 1> bytes;
    client.async_read_some(asio::buffer(bytes), use_fiber[error]);
    EXPECT_EQ(error, asio::error::eof);
  });
}

TEST_P(CancelIoTest, ACancelledFiberStartsNoOperation) {
  RunInFiber([&] {
    auto [client, server] = Connect();
    asio::async_write(client, asio::buffer("x", 1), use_fiber);
    std::array<char, 1> bytes;
    error_code error;
    {
      const ContextScope cancelled(Context().WithTimeout(milliseconds(0)));
      EXPECT_EQ(server.async_read_some(asio::buffer(bytes), use_fiber[error]), 0u);
      EXPECT_EQ(error, asio::error::operation_aborted);
      EXPECT_THROW(asio::post(scheduler().get_executor(), use_fiber), WaitCancelled) << "it has no error to report";
    }
    EXPECT_EQ(server.async_read_some(asio::buffer(bytes), use_fiber[error]), 1u) << "nothing was lost";
  });
}

TEST_P(CancelIoTest, AContextsDeadlineEndsIo) {
  RunInFiber([&] {
    auto [client, server] = Connect();
    std::array<char, 1> bytes;
    error_code error;
    const ContextScope scope(Context().WithTimeout(milliseconds(1)));
    server.async_read_some(asio::buffer(bytes), use_fiber[error]);
    EXPECT_EQ(error, asio::error::operation_aborted);
    EXPECT_EQ(this_fiber::context().err().code(), absl::StatusCode::kDeadlineExceeded);
  });
}

TEST_P(CancelIoTest, AScopesFailureEndsItsChildrensIo) {
  RunInFiber([&] {
    auto [client, server] = Connect();
    Scope scope;
    scope.Spawn([&] {
      std::array<char, 1> bytes;
      server.async_read_some(asio::buffer(bytes), use_fiber);  // throws operation_aborted, which is no second failure
    });
    scope.Spawn([] { throw std::runtime_error("broken"); });
    EXPECT_THROW(scope.Join(), std::runtime_error);
    EXPECT_EQ(scope.failed_count(), 1u);
  });
}

TEST_P(CancelIoTest, ABoundSlotCancelsFromAnyThread) {
  asio::cancellation_signal signal;
  error_code error;
  const Fiber fiber = scheduler().Spawn([&] {
    asio::steady_timer timer(scheduler().get_executor(), hours(1));
    timer.async_wait(asio::bind_cancellation_slot(signal.slot(), use_fiber[error]));
  });
  AwaitState(fiber, FiberState::kWaiting);
  signal.emit(asio::cancellation_type::total);
  fiber.Join();
  EXPECT_EQ(error, asio::error::operation_aborted);
  // After the end of the operation, and of the scheduler, it does nothing.
  signal.emit(asio::cancellation_type::all);
  StopScheduler();
  signal.emit(asio::cancellation_type::all);
}

TEST_P(CancelIoTest, AFiberWithABoundSlotIsCancelledAllTheSame) {
  asio::cancellation_signal signal;
  const CancelSource source = Context().WithCancel();
  error_code error;
  const Fiber fiber = scheduler().Spawn(
      [&] {
        asio::steady_timer timer(scheduler().get_executor(), hours(1));
        timer.async_wait(asio::bind_cancellation_slot(signal.slot(), use_fiber[error]));
        EXPECT_EQ(error, asio::error::operation_aborted);
        const ContextScope uncancelled{Context()};
        timer.async_wait(asio::bind_cancellation_slot(signal.slot(), use_fiber[error].timeout(milliseconds(1))));
      },
      {.context = source.context()});
  AwaitState(fiber, FiberState::kWaiting);
  source.Cancel();
  fiber.Join();
  EXPECT_EQ(error, asio::error::timed_out);
}

TEST_P(CancelIoTest, AnOperationThatKnowsNoCancellationIsWaitedFor) {
  const CancelSource source = Context().WithCancel();
  std::atomic<bool> started{false};
  std::atomic<bool> finish{false};
  int result = 0;
  const auto async_stubborn = [&](auto&& token) {
    return asio::async_initiate<decltype(token), void(error_code, int)>(
        [&](auto handler) {
          started = true;
          Spawn(
              [&finish, handler = std::move(handler)]() mutable {
                while (!finish) this_fiber::Yield();
                const auto executor = asio::get_associated_executor(handler);
                asio::post(executor, [handler = std::move(handler)]() mutable { std::move(handler)(error_code(), 7); });
              },
              {.context = Context()});
        },
        token);
  };
  const Fiber fiber = scheduler().Spawn([&] { result = async_stubborn(use_fiber); }, {.context = source.context()});
  while (!started) sched_yield();
  AwaitState(fiber, FiberState::kWaiting);
  source.Cancel();
  EXPECT_NE(fiber.state(), FiberState::kDead);
  finish = true;
  fiber.Join();
  EXPECT_EQ(result, 7);
}

TEST_P(CancelIoTest, StopUnwindsFibersInOperations) {
  std::atomic<int> unwound{0};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 10; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      struct Count {
        std::atomic<int>& n;
        ~Count() { ++n; }
      } count{unwound};
      asio::steady_timer timer(scheduler().get_executor(), hours(1));
      timer.async_wait(use_fiber.timeout(hours(1)));
      ADD_FAILURE() << "returned";
    }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_EQ(unwound, 10);
}

TEST_P(CancelIoTest, AnOperationIsDoneWithTheFrameBeforeAStopUnwindsIt) {
  std::optional<std::pair<tcp::socket, tcp::socket>> connection;
  RunInFiber([&] { connection.emplace(Connect()); });  // outlives the fiber: nothing but the stop ends the read
  bool alive = true;
  int calls = 0;
  const Fiber fiber = scheduler().Spawn([&] {
    struct Buffer {
      bool& alive;
      std::array<char, 64> bytes = {};
      ~Buffer() { alive = false; }
    } buffer{alive};
    const auto condition = [&](const error_code& error, size_t) -> size_t {
      EXPECT_TRUE(alive) << "the operation goes on without its buffer";
      ++calls;
      return error ? 0 : buffer.bytes.size();
    };
    asio::async_read(connection->second, asio::buffer(buffer.bytes), condition, use_fiber.timeout(hours(1)));
    ADD_FAILURE() << "the read returned";
  });
  AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_FALSE(alive);
  EXPECT_EQ(calls, 2) << "once at the start, once when it was cancelled";
  connection.reset();
}

// Goal: timeouts, cancellations and completions in any order lose no byte, and each call returns once. Method: the writer sends one
// byte at a time; the reader reads with timeouts about as long as the writer takes, in contexts that are cancelled at random, and
// counts what it got.
TEST_P(CancelIoTest, StressOfCancellationRacingCompletion) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  constexpr size_t kBytes = 400;
  RunInFiber([&] {
    Scope scope;
    for (uint32_t pair = 0; pair < 4; ++pair) {
      scope.Spawn([&, pair] {
        auto [client, server] = Connect();
        std::minstd_rand random(seed + pair);
        Scope inner;
        inner.Spawn([&client = client, &random_seed = seed, pair] {
          std::minstd_rand mine(random_seed + 100 + pair);
          for (size_t i = 0; i < kBytes; ++i) {
            if (mine() % 2 == 0) this_fiber::SleepFor(microseconds(mine() % 60));
            asio::async_write(client, asio::buffer("x", 1), use_fiber);
          }
          client.shutdown(tcp::socket::shutdown_send);
        });
        size_t received = 0;
        for (;;) {
          CancelSource source = Context().WithCancel();
          const ContextScope context(source.context());
          const Fiber canceller = Spawn(
              [&source, wait = random() % 6] {
                for (uint32_t i = 0; i < wait; ++i) this_fiber::Yield();
                if (wait != 0) source.Cancel();
              },
              {.context = Context()});
          std::array<char, 3> bytes;
          error_code error;
          received += asio::async_read(server, asio::buffer(bytes), use_fiber[error].timeout(microseconds(random() % 80)));
          const ContextScope uncancelled{Context()};
          canceller.Join();
          if (error == asio::error::eof) break;
          EXPECT_TRUE(!error || error == asio::error::timed_out || error == asio::error::operation_aborted) << error.message();
        }
        EXPECT_EQ(received, kBytes);
        inner.Join();
      });
    }
    scope.Join();
  });
}

INSTANTIATE_TEST_SUITE_P(Processors, CancelIoTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
