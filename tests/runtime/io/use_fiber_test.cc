#include "runtime/io/use_fiber.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
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
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

class UseFiberTest : public testing::RuntimeTest {
 protected:
  // Two ends of a connection over loopback.
  struct Connection {
    tcp::socket client;
    tcp::socket server;
  };
  Connection Connect() {
    tcp::acceptor acceptor(scheduler().get_executor(), {asio::ip::address_v4::loopback(), 0});
    Connection connection{tcp::socket(scheduler().get_executor()), tcp::socket(scheduler().get_executor())};
    RunInFiber([&] {
      const Fiber accepts = Spawn([&] { acceptor.async_accept(connection.server, use_fiber); });
      connection.client.async_connect(acceptor.local_endpoint(), use_fiber);
      accepts.Join();
    });
    return connection;
  }
};

// Whether the fiber has parked in an operation.
bool WaitsForIo(FiberId id) {
  bool waits = false;
  ForEachFiber({.stacks = false}, [&](const FiberSnapshot& snapshot) {
    waits = waits || (snapshot.id == id && snapshot.wait_reason == WaitReason::kIo);
    return !waits;
  });
  return waits;
}

// ---- Forms of results

// An operation that completes with `values`, from the reactor or from another thread.
template <typename Signature, typename... Values>
auto CompleteWith(bool on_thread, Values... values) {
  return asio::async_initiate<const use_fiber_t, Signature>(
      [on_thread](auto handler, auto... each) {
        const auto executor = asio::get_associated_executor(handler);
        auto complete = [handler = std::move(handler), ... each = std::move(each)]() mutable {
          std::move(handler)(std::move(each)...);
        };
        if (on_thread) {
          std::thread(std::move(complete)).detach();
        } else {
          asio::post(executor, std::move(complete));
        }
      },
      use_fiber, std::move(values)...);
}

TEST_P(UseFiberTest, ResultsComeBackInTheFormOfTheSignature) {
  RunInFiber([&] {
    for (const bool on_thread : {false, true}) {
      CompleteWith<void()>(on_thread);
      CompleteWith<void(error_code)>(on_thread, error_code());
      CompleteWith<void(std::exception_ptr)>(on_thread, std::exception_ptr());
      EXPECT_EQ(CompleteWith<void(int)>(on_thread, 5), 5);
      EXPECT_EQ(CompleteWith<void(error_code, int)>(on_thread, error_code(), 6), 6);
      EXPECT_EQ(CompleteWith<void(std::exception_ptr, int)>(on_thread, std::exception_ptr(), 7), 7);
      EXPECT_EQ((CompleteWith<void(int, std::string)>(on_thread, 8, std::string("eight"))),
                std::tuple(8, std::string("eight")));
      EXPECT_EQ((CompleteWith<void(error_code, int, std::string)>(on_thread, error_code(), 9, std::string("nine"))),
                std::tuple(9, std::string("nine")));
      EXPECT_EQ(*(CompleteWith<void(std::unique_ptr<int>)>(on_thread, std::make_unique<int>(10))), 10);
    }
  });
}

TEST_P(UseFiberTest, FailuresAreThrown) {
  RunInFiber([&] {
    const error_code refused = asio::error::connection_refused;
    try {
      CompleteWith<void(error_code, int)>(false, refused, 1);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const boost::system::system_error& error) {
      EXPECT_EQ(error.code(), refused);
    }
    const auto failure = std::make_exception_ptr(std::invalid_argument("of the operation"));
    EXPECT_THROW(CompleteWith<void(std::exception_ptr)>(false, failure), std::invalid_argument);
    EXPECT_THROW((CompleteWith<void(std::exception_ptr, int)>(true, failure, 1)), std::invalid_argument);
  });
}

TEST_P(UseFiberTest, WithAPlaceForTheErrorNothingIsThrown) {
  RunInFiber([&] {
    asio::steady_timer timer(scheduler().get_executor(), std::chrono::microseconds(10));
    error_code error = asio::error::eof;
    timer.async_wait(use_fiber[error]);
    EXPECT_FALSE(error) << "success is written too";
    timer.expires_after(std::chrono::hours(1));
    const FiberId self = this_fiber::id();
    const Fiber canceller = Spawn([&] {
      while (!WaitsForIo(self)) this_fiber::Yield();
      timer.cancel();
    });
    timer.async_wait(use_fiber[error]);
    canceller.Join();
    EXPECT_EQ(error, asio::error::operation_aborted);
  });
}

// ---- Timers

TEST_P(UseFiberTest, ATimerParksTheFiberInIo) {
  asio::steady_timer timer(scheduler().get_executor(), std::chrono::hours(1));
  const Fiber fiber = scheduler().Spawn([&] {
    error_code error;
    timer.async_wait(use_fiber[error]);
    EXPECT_EQ(error, asio::error::operation_aborted);
  });
  AwaitState(fiber, FiberState::kWaiting);
  EXPECT_TRUE(WithSnapshot(fiber.id(), [](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kIo);
    EXPECT_TRUE(snapshot.stack_available);
  }));
  timer.cancel();
  fiber.Join();
}

TEST_P(UseFiberTest, ManyFibersWaitForTimersAtOnce) {
  WaitGroup group;
  for (int i = 0; i < 500; ++i) {
    group.Add(1);
    scheduler().Spawn([&, i] {
      asio::steady_timer timer(scheduler().get_executor());
      for (int k = 0; k < 3; ++k) {
        timer.expires_after(std::chrono::microseconds((i * 13 + k * 101) % 1000));
        timer.async_wait(use_fiber);
      }
      group.Done();
    });
  }
  group.Wait();
}

// ---- Sockets

TEST_P(UseFiberTest, AnEchoServerServesManyClients) {
  constexpr int kClients = 20;
  tcp::acceptor acceptor(scheduler().get_executor(), {asio::ip::address_v4::loopback(), 0});
  const Fiber server = scheduler().Spawn([&] {
    for (int i = 0; i < kClients; ++i) {
      auto socket = std::make_shared<tcp::socket>(acceptor.async_accept(use_fiber));
      Spawn([socket] {
        std::string line;
        error_code error;
        for (;;) {
          const size_t size = asio::async_read_until(*socket, asio::dynamic_buffer(line), '\n', use_fiber[error]);
          if (error) break;
          asio::async_write(*socket, asio::buffer(line.data(), size), use_fiber);
          line.erase(0, size);
        }
        EXPECT_EQ(error, asio::error::eof);
      });
    }
  });
  WaitGroup clients;
  for (int c = 0; c < kClients; ++c) {
    clients.Add(1);
    scheduler().Spawn([&, c] {
      {
        tcp::socket socket(scheduler().get_executor());
        socket.async_connect(acceptor.local_endpoint(), use_fiber);
        for (int i = 0; i < 20; ++i) {
          const std::string line = std::to_string(c) + " says " + std::to_string(i) + "\n";
          EXPECT_EQ(asio::async_write(socket, asio::buffer(line), use_fiber), line.size());
          std::string answer(line.size(), '\0');
          asio::async_read(socket, asio::buffer(answer), use_fiber);
          EXPECT_EQ(answer, line);
        }
      }
      clients.Done();
    });
  }
  clients.Wait();
  server.Join();
}

TEST_P(UseFiberTest, AReadAtTheEndReportsEof) {
  // One read each: a second read after the end may wait for ever in Asio 1.81, which counts on an edge that has been.
  Connection connections[] = {Connect(), Connect()};
  RunInFiber([&] {
    for (Connection& connection : connections) connection.client.close();
    std::array<char, 8> buffer;
    error_code error;
    EXPECT_EQ(connections[0].server.async_read_some(asio::buffer(buffer), use_fiber[error]), 0u);
    EXPECT_EQ(error, asio::error::eof);
    EXPECT_THROW(connections[1].server.async_read_some(asio::buffer(buffer), use_fiber), boost::system::system_error);
  });
}

TEST_P(UseFiberTest, ClosingTheSocketEndsTheWait) {
  Connection connection = Connect();
  std::array<char, 8> buffer;
  error_code error;
  const Fiber reader =
      scheduler().Spawn([&] { connection.server.async_read_some(asio::buffer(buffer), use_fiber[error]); });
  AwaitState(reader, FiberState::kWaiting);
  RunInFiber([&] { connection.server.close(); });
  reader.Join();
  EXPECT_EQ(error, asio::error::operation_aborted);
}

TEST_P(UseFiberTest, ALargeTransferIsComplete) {
  constexpr size_t kBytes = 4 << 20;
  Connection connection = Connect();
  const Fiber writer = scheduler().Spawn([&] {
    std::string data(kBytes, 'x');
    for (size_t i = 0; i < kBytes; i += 4096) data[i] = static_cast<char>('a' + i / 4096 % 26);
    EXPECT_EQ(asio::async_write(connection.client, asio::buffer(data), use_fiber), kBytes);
    connection.client.close();
  });
  RunInFiber([&] {
    std::string data;
    error_code error;
    asio::async_read(connection.server, asio::dynamic_buffer(data), use_fiber[error]);
    EXPECT_EQ(error, asio::error::eof);
    ASSERT_EQ(data.size(), kBytes);
    for (size_t i = 0; i < kBytes; i += 4096) ASSERT_EQ(data[i], static_cast<char>('a' + i / 4096 % 26));
  });
  writer.Join();
}

// ---- Beast

TEST_P(UseFiberTest, ComposedOperationsOfBeastWork) {
  Connection connection = Connect();
  boost::beast::tcp_stream server(std::move(connection.server));
  boost::beast::tcp_stream client(std::move(connection.client));
  const Fiber serves = scheduler().Spawn(
      [&] {
        boost::beast::flat_buffer buffer;
        for (int i = 0; i < 10; ++i) {
          http::request<http::string_body> request;
          server.expires_after(std::chrono::minutes(1));
          http::async_read(server, buffer, request, use_fiber);
          http::response<http::string_body> response(http::status::ok, request.version());
          response.body() = std::string(request.target()) + ": " + request.body();
          response.prepare_payload();
          http::async_write(server, response, use_fiber);
        }
        error_code error;
        http::request<http::string_body> request;
        http::async_read(server, buffer, request, use_fiber[error]);
        EXPECT_EQ(error, http::error::end_of_stream);
      },
      {.stack_bytes = 256 << 10});
  const Fiber asks = scheduler().Spawn(
      [&] {
        boost::beast::flat_buffer buffer;
        for (int i = 0; i < 10; ++i) {
          http::request<http::string_body> request(http::verb::post, "/orders", 11);
          request.set(http::field::host, "localhost");
          request.body() = std::string(static_cast<size_t>(i) * 1000, 'b');
          request.prepare_payload();
          http::async_write(client, request, use_fiber);
          http::response<http::string_body> response;
          http::async_read(client, buffer, response, use_fiber);
          EXPECT_EQ(response.body(), "/orders: " + request.body());
        }
        client.close();
      },
      {.stack_bytes = 256 << 10});
  serves.Join();
  asks.Join();
}

TEST_P(UseFiberTest, ATimeoutOfABeastStreamEndsTheWait) {
  Connection connection = Connect();
  boost::beast::tcp_stream server(std::move(connection.server));
  RunInFiber([&] {
    std::array<char, 8> buffer;
    error_code error;
    server.expires_after(std::chrono::milliseconds(1));
    server.async_read_some(asio::buffer(buffer), use_fiber[error]);
    EXPECT_EQ(error, boost::beast::error::timeout);
  });
}

// ---- Stop

TEST_P(UseFiberTest, StopUnwindsFibersThatWaitForIo) {
  Connection connection = Connect();
  int unwound = 0;  // the thread that stops runs them all
  struct Guard {
    int& count;
    ~Guard() { ++count; }
  };
  std::vector<Fiber> fibers;
  fibers.push_back(scheduler().Spawn([&] {
    const Guard guard{unwound};
    // The socket and the buffer go away with the fiber.
    tcp::socket mine(std::move(connection.server));
    std::array<char, 64> buffer;
    mine.async_read_some(asio::buffer(buffer), use_fiber);
    ADD_FAILURE() << "the read returned";
  }));
  fibers.push_back(scheduler().Spawn([&] {
    const Guard guard{unwound};
    asio::steady_timer timer(scheduler().get_executor(), std::chrono::hours(1));
    timer.async_wait(use_fiber);
    ADD_FAILURE() << "the wait returned";
  }));
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_EQ(unwound, 2);
}

TEST_P(UseFiberTest, AnOperationIsDoneWithTheFibersStackBeforeTheStackIsUnwound) {
  Connection connection = Connect();  // outlives the fiber, so nothing but the stop ends the read
  bool alive = true;
  int calls = 0;
  const Fiber fiber = scheduler().Spawn([&] {
    struct Buffer {
      bool& alive;
      std::array<char, 64> bytes = {};
      ~Buffer() { alive = false; }
    } buffer{alive};
    // Asked at the start and at every completion in between.
    const auto condition = [&](const error_code& error, size_t) -> size_t {
      EXPECT_TRUE(alive) << "the operation goes on without its buffer";
      ++calls;
      return error ? 0 : buffer.bytes.size();
    };
    asio::async_read(connection.server, asio::buffer(buffer.bytes), condition, use_fiber);
    ADD_FAILURE() << "the read returned";
  });
  AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_FALSE(alive);
  EXPECT_EQ(calls, 2) << "once at the start, once when it was cancelled";
}

TEST_P(UseFiberTest, DestructorsMayWaitForIoWhileTheSchedulerStops) {
  error_code error;
  struct Waits {
    Scheduler& scheduler;
    error_code& error;
    ~Waits() {
      asio::steady_timer timer(scheduler.get_executor(), std::chrono::hours(1));
      timer.async_wait(use_fiber[error]);
    }
  };
  Channel<int> never;
  const Fiber fiber = scheduler().Spawn([&] {
    const Waits waits{scheduler(), error};
    never.Receive();
  });
  AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_EQ(error, asio::error::operation_aborted);
}

TEST_P(UseFiberTest, OnlyFibersCanUseIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        asio::steady_timer timer(scheduler().get_executor(), std::chrono::hours(1));
        timer.async_wait(use_fiber);
      },
      "use_fiber can be used on fibers only");
}

INSTANTIATE_TEST_SUITE_P(Processors, UseFiberTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
