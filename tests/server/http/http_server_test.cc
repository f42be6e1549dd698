// The server as a whole: starting, stopping, and what happens when connections, descriptors or dumps run out.
//
// Tests wait for what the server does, never for time to pass; the test's own time limit is the deadline.
#include "server/http/http_server.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/http/test_server.h"
#include "tests/testing/raw_client.h"

namespace fiberscope::server {
namespace {

using std::chrono::milliseconds;
using testing::Fetch;
using testing::HttpReply;
using testing::RawClient;
using testing::TestServer;

size_t CountEntries(const char* directory) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}
size_t Descriptors() { return CountEntries("/proc/self/fd"); }
size_t Threads() { return CountEntries("/proc/self/task"); }

// A thread that was joined can be listed for a moment longer.
void AwaitThreads(size_t count) {
  while (Threads() > count) sched_yield();
}

absl::Status StartError(const HttpServerOptions& options) {
  return HttpServer::Start(options, Router({})).status();
}

std::vector<std::string> ThreadNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(entry.path() / "comm");
    names.emplace_back();
    std::getline(file, names.back());
  }
  return names;
}

TEST(HttpServerTest, SaysWhereItListens) {
  TestServer server;
  EXPECT_NE(server.port(), 0);
  EXPECT_EQ(server->address(), "127.0.0.1:" + std::to_string(server.port()));
  TestServer v6({.address = "::1"});
  EXPECT_EQ(v6->address(), "[::1]:" + std::to_string(v6.port()));
}

TEST(HttpServerTest, ItsThreadsHaveNames) {
  TestServer server({.work_threads = 3});
  EXPECT_EQ(Fetch(server.port(), "/echo").status, 200);
  const std::vector<std::string> names = ThreadNames();
  EXPECT_EQ(std::count(names.begin(), names.end(), "dbg-io"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "dbg-work"), 3);
}

TEST(HttpServerTest, APortInUseIsOneClearErrorThatLeavesNothing) {
  TestServer server;
  const size_t descriptors = Descriptors();
  const size_t threads = Threads();
  const absl::Status status = StartError({.port = server.port()});
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(status.message(), "listen on 127.0.0.1:" + std::to_string(server.port()) + ": Address already in use");
  EXPECT_EQ(Descriptors(), descriptors);
  EXPECT_EQ(Threads(), threads);
}

TEST(HttpServerTest, AnAddressThatIsNoneOrNotOursIsOneClearError) {
  EXPECT_EQ(StartError({.address = "localhost"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StartError({.address = ""}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StartError({.address = "127.1"}).code(), absl::StatusCode::kInvalidArgument);
  // TEST-NET-1 of RFC 5737.
  const absl::Status foreign = StartError({.address = "192.0.2.1", .port = 6060});
  EXPECT_EQ(foreign.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(foreign.message(), "listen on 192.0.2.1:6060: Cannot assign requested address");
}

TEST(HttpServerTest, AForbiddenPortIsOneClearError) {
  int first_free = 1024;
  std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first_free;
  if (first_free <= 1) GTEST_SKIP() << "every port is allowed to everybody here";
  absl::Status status;
  // Capabilities belong to the thread.
  std::thread([&] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    ASSERT_EQ(syscall(SYS_capset, &header, none), 0);
    status = StartError({.port = 1});
  }).join();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(status.message(), "listen on 127.0.0.1:1: Permission denied");
}

// The soft limit of descriptors, put back at the end.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    getrlimit(RLIMIT_NOFILE, &saved_);
    const rlimit low{limit, saved_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
  }
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &saved_); }

 private:
  rlimit saved_;
};

TEST(HttpServerTest, WithoutDescriptorsStartIsOneClearErrorThatLeavesNothing) {
  const size_t descriptors = Descriptors();
  bool started = false;
  // With each of its descriptors missing in turn.
  for (rlim_t spare = 0; !started; ++spare) {
    absl::Status status;
    {
      const int next = dup(0);
      close(next);
      const DescriptorLimit limit(static_cast<rlim_t>(next) + spare);
      status = StartError({});
    }
    started = status.ok();
    EXPECT_TRUE(started || status.code() == absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(Descriptors(), descriptors) << spare;
    ASSERT_LT(spare, 20u);
  }
}

// R-C6: with no descriptor left a client is turned away, not left waiting; with descriptors again the next one is served.
TEST(HttpServerTest, RecoversWhenDescriptorsRunOut) {
  TestServer server;
  std::vector<RawClient> clients(8);
  {
    const int next = dup(0);
    close(next);
    const DescriptorLimit limit(static_cast<rlim_t>(next));
    for (size_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(clients[i].Connect(server.port()));
      clients[i].AwaitEnd();
    }
  }
  for (size_t i = 4; i < 8; ++i) {
    ASSERT_TRUE(clients[i].Connect(server.port()));
    clients[i].Request("GET", "/echo");
    EXPECT_EQ(clients[i].Read().status, 200);
  }
}

// R-C1: the oldest connection without a whole request makes room first, however long others have been idle.
TEST(HttpServerTest, AtTheLimitASilentConnectionMakesRoom) {
  TestServer server({.max_connections = 3});
  std::vector<RawClient> clients(4);
  ASSERT_TRUE(clients[0].Connect(server.port()));
  clients[0].Request("GET", "/echo");
  EXPECT_EQ(clients[0].Read().status, 200);
  ASSERT_TRUE(clients[1].Connect(server.port()));
  clients[1].Send("GET /");
  ASSERT_TRUE(clients[2].Connect(server.port()));
  ASSERT_TRUE(clients[3].Connect(server.port()));
  clients[3].Request("GET", "/echo");
  EXPECT_EQ(clients[3].Read().status, 200);
  EXPECT_EQ(clients[1].AwaitEnd(), RawClient::End::kReset);
  for (const size_t left : {0, 2, 3}) {
    clients[left].Request("GET", "/echo");
    EXPECT_EQ(clients[left].Read().status, 200) << left;
  }
}

// R-C1: then the one that has been idle longest.
TEST(HttpServerTest, AtTheLimitTheLongestIdleConnectionMakesRoom) {
  TestServer server({.max_connections = 3});
  std::vector<RawClient> clients(4);
  for (const size_t i : {0, 1, 2}) ASSERT_TRUE(clients[i].Connect(server.port()));
  for (const size_t i : {0, 1, 2, 0}) {
    clients[i].Request("GET", "/echo");
    EXPECT_EQ(clients[i].Read().status, 200);
  }
  ASSERT_TRUE(clients[3].Connect(server.port()));
  clients[3].Request("GET", "/echo");
  EXPECT_EQ(clients[3].Read().status, 200);
  EXPECT_EQ(clients[1].AwaitEnd(), RawClient::End::kReset);
  for (const size_t left : {0, 2, 3}) {
    clients[left].Request("GET", "/echo");
    EXPECT_EQ(clients[left].Read().status, 200) << left;
  }
}

// R-C1: and when all are being answered, the new one is refused.
TEST(HttpServerTest, AtTheLimitWithAllBusyTheNewConnectionIsRefused) {
  TestServer server({.max_connections = 2});
  std::vector<RawClient> busy(2);
  for (RawClient& client : busy) {
    ASSERT_TRUE(client.Connect(server.port()));
    client.Request("GET", "/gate");
  }
  server.gate().AwaitEntered(2);
  RawClient refused;
  ASSERT_TRUE(refused.Connect(server.port()));
  const HttpReply reply = refused.Read();
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.Field("Connection"), "close");
  EXPECT_EQ(reply.body, "too many connections\n");
  server.gate().Open();
  for (RawClient& client : busy) EXPECT_EQ(client.Read().body, "through");
}

// A flood of strangers who say nothing does not keep out those who do.
TEST(HttpServerTest, SilentConnectionsDoNotStarveOthers) {
  TestServer server({.max_connections = 8});
  std::vector<RawClient> silent(100);
  for (RawClient& client : silent) ASSERT_TRUE(client.Connect(server.port()));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Fetch(server.port(), "/stream").status, 200);
}

// R-P5: so many dumps at once, so many queued; the next is told to come again, and quick handlers are not held up.
TEST(HttpServerTest, TooManyDumpsAreToldToComeAgain) {
  TestServer server({.work_threads = 2, .work_queue = 1});
  std::vector<RawClient> clients(4);
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(clients[i].Connect(server.port()));
    clients[i].Request("GET", "/gate");
  }
  server.gate().AwaitEntered(2);
  // Of the next two one is queued and one refused, whichever comes first.
  for (size_t i = 2; i < 4; ++i) {
    ASSERT_TRUE(clients[i].Connect(server.port()));
    clients[i].Request("GET", "/gate");
  }
  while (!clients[2].Readable(milliseconds(1)) && !clients[3].Readable(milliseconds(1))) {
  }
  RawClient& turned_away = clients[clients[2].Readable(milliseconds(0)) ? 2 : 3];
  RawClient& queued = clients[&turned_away == &clients[2] ? 3 : 2];
  const HttpReply refused = turned_away.Read();
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.Field("Retry-After"), "1");
  EXPECT_EQ(refused.Field("X-Go-Pprof"), "1");
  EXPECT_EQ(refused.Field("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(Fetch(server.port(), "/echo").status, 200);
  server.gate().Open();
  for (RawClient* const client : {&clients[0], &clients[1], &queued}) EXPECT_EQ(client->Read().body, "through");
  // The connection of the refused one is as good as before, and so is the pool.
  do {
    turned_away.Request("GET", "/gate");
  } while (turned_away.Read().status == 429);
  EXPECT_EQ(server.gate().entered(), 4);
}

// R-L1.
TEST(HttpServerTest, StopLeavesNoThreadAndNoDescriptor) {
  const size_t descriptors = Descriptors();
  const size_t threads = Threads();
  TestServer server;
  EXPECT_EQ(Fetch(server.port(), "/stream").status, 200);
  RawClient idle;
  ASSERT_TRUE(idle.Connect(server.port()));
  EXPECT_GT(Descriptors(), descriptors);
  EXPECT_GT(Threads(), threads);
  server->Stop();
  EXPECT_EQ(idle.AwaitEnd(), RawClient::End::kReset);
  idle.Close();
  EXPECT_EQ(Descriptors(), descriptors);
  AwaitThreads(threads);
  RawClient late;
  EXPECT_FALSE(late.Connect(server.port()));
  EXPECT_EQ(errno, ECONNREFUSED);
  server->Stop();
}

// R-L1.
TEST(HttpServerTest, StopsAndStartsAHundredTimes) {
  const size_t descriptors = Descriptors();
  const size_t threads = Threads();
  for (int i = 0; i < 100; ++i) {
    TestServer server;
    EXPECT_EQ(Fetch(server.port(), i % 2 == 0 ? "/echo" : "/stream").status, 200);
    if (i % 3 == 0) server->Stop();
  }
  EXPECT_EQ(Descriptors(), descriptors);
  AwaitThreads(threads);
}

// R-L1: what is being answered when Stop() comes is answered.
TEST(HttpServerTest, StopLetsARequestInProgressFinish) {
  TestServer server({.drain_timeout = std::chrono::hours(1)});
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/gate");
  server.gate().AwaitEntered(1);
  std::thread stopper([&] { server->Stop(); });
  // The listener is closed: Stop() has begun.
  for (bool refused = false; !refused;) {
    RawClient late;
    refused = !late.Connect(server.port());
  }
  server.gate().Open();
  const HttpReply reply = client.Read();
  EXPECT_EQ(reply.body, "through");
  EXPECT_EQ(client.AwaitEnd(), RawClient::End::kClosed);
  stopper.join();
}

// R-L1: but not for ever, and a job that waited in the queue does not start once its client is gone.
TEST(HttpServerTest, StopResetsWhatDoesNotFinish) {
  TestServer server({.drain_timeout = milliseconds(10), .work_threads = 1, .work_queue = 1});
  std::vector<RawClient> clients(3);
  ASSERT_TRUE(clients[0].Connect(server.port()));
  clients[0].Request("GET", "/gate");
  server.gate().AwaitEntered(1);
  for (size_t i = 1; i < 3; ++i) {
    ASSERT_TRUE(clients[i].Connect(server.port()));
    clients[i].Request("GET", "/gate");
  }
  // One is refused: so the other is in the queue.
  while (!clients[1].Readable(milliseconds(1)) && !clients[2].Readable(milliseconds(1))) {
  }
  RawClient& queued = clients[clients[1].Readable(milliseconds(0)) ? 2 : 1];
  std::thread stopper([&] { server->Stop(); });
  EXPECT_EQ(clients[0].AwaitEnd(), RawClient::End::kReset);
  EXPECT_EQ(queued.AwaitEnd(), RawClient::End::kReset);
  server.gate().Open();
  stopper.join();
  EXPECT_EQ(server.gate().entered(), 1);
}

// R-L1: nor for a reader that stalls.
TEST(HttpServerTest, StopResetsAStalledReader) {
  TestServer server({.drain_timeout = milliseconds(10)});
  RawClient client(/*receive_buffer_bytes=*/4096);
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/flood");
  EXPECT_TRUE(client.Readable(std::chrono::hours(1)));
  server->Stop();
  EXPECT_EQ(server.AwaitFloods(1)[0].end, absl::StatusCode::kCancelled);
  EXPECT_EQ(client.AwaitEnd(), RawClient::End::kReset);
}

// R-L1: a handler may stop its own server, on the I/O thread or on a work thread.
TEST(HttpServerTest, AHandlerMayStopTheServer) {
  for (const bool slow : {false, true}) {
    const size_t threads = Threads();
    std::atomic<HttpServer*> self = nullptr;
    auto server = HttpServer::Start({}, Router({{.path = "/stop", .slow = slow, .handler =
                                                     [&](const Request&, ResponseWriter& writer) {
                                                       self.load()->Stop();
                                                       self.load()->Stop();
                                                       writer.Send({.head = {}, .body = "stopping"});
                                                     }}}));
    ASSERT_TRUE(server.ok());
    self = server->get();
    RawClient client;
    ASSERT_TRUE(client.Connect((*server)->port()));
    client.Request("GET", "/stop");
    EXPECT_EQ(client.Read().body, "stopping");
    EXPECT_EQ(client.AwaitEnd(), RawClient::End::kClosed);
    (*server)->Stop();
    AwaitThreads(threads);
  }
}

// R-L1.
TEST(HttpServerTest, SeveralThreadsMayStopAtOnce) {
  for (int i = 0; i < 20; ++i) {
    TestServer server;
    EXPECT_EQ(Fetch(server.port(), "/stream").status, 200);
    std::vector<std::thread> stoppers;
    for (int j = 0; j < 4; ++j) stoppers.emplace_back([&] { server->Stop(); });
    for (std::thread& stopper : stoppers) stopper.join();
  }
}

TEST(HttpServerTest, StopsInTheMiddleOfTraffic) {
  for (int i = 0; i < 10; ++i) {
    TestServer server;
    const uint16_t port = server.port();
    std::atomic<int> answered = 0;
    std::vector<std::thread> clients;
    for (int j = 0; j < 4; ++j) {
      clients.emplace_back([&answered, port, j] {
        for (;;) {
          RawClient client;
          if (!client.Connect(port)) return;
          client.Request("GET", j % 2 == 0 ? "/echo" : "/stream");
          if (client.Read().complete) ++answered;
        }
      });
    }
    while (answered < 20) sched_yield();
    server->Stop();
    for (std::thread& client : clients) client.join();
  }
}

}  // namespace
}  // namespace fiberscope::server
