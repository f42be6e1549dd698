// One connection at a time, byte by byte, against a real server on a port of the system's choice.
//
// Time-outs are small options of the server; a test waits for what the server does, never for time to pass. Where a time-out must
// not strike it keeps its default of seconds.
#include "server/http/http_server.h"

#include <chrono>
#include <fstream>
#include <string>
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

// Sends `bytes` on a new connection and reads one answer.
HttpReply Exchange(uint16_t port, const std::string& bytes) {
  RawClient client;
  EXPECT_TRUE(client.Connect(port));
  client.Send(bytes);
  return client.Read();
}

// Sends one byte of `text` over and over, with small pauses, until the server ends the connection. False if it never does.
bool DripUntilEnd(RawClient& client, const std::string& text, size_t max_bytes = 2'000) {
  for (size_t i = 0; i < max_bytes; ++i) {
    if (!client.Send(text.substr(i % text.size(), 1))) return true;
    if (client.Readable(milliseconds(5))) return true;
  }
  return false;
}

TEST(SessionTest, AnswersSeveralRequestsOnAConnection) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  for (int i = 0; i < 3; ++i) {
    client.Request("GET", "/echo?" + std::to_string(i));
    const HttpReply reply = client.Read();
    EXPECT_EQ(reply.status_line, "HTTP/1.1 200 OK");
    EXPECT_EQ(reply.body, "GET /echo " + std::to_string(i));
    EXPECT_FALSE(reply.Has("Connection"));
    client.Request("GET", "/nope");
    EXPECT_EQ(client.Read().status, 404);
    client.Request("GET", "/stream");
    const HttpReply stream = client.Read();
    EXPECT_TRUE(stream.complete);
    EXPECT_EQ(stream.body.size(), 200u * 1024);
  }
}

TEST(SessionTest, AnswersPipelinedRequestsInTheirOrder) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  std::string all;
  for (int i = 0; i < 20; ++i) {
    // Slow and quick ones in turn: the quick ones must not overtake.
    all += (i % 2 == 0 ? "GET /echo?" : "GET /stream?") + std::to_string(i) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  }
  client.Send(all);
  for (int i = 0; i < 20; ++i) {
    const HttpReply reply = client.Read();
    EXPECT_TRUE(reply.complete);
    if (i % 2 == 0) {
      EXPECT_EQ(reply.body, "GET /echo " + std::to_string(i));
    } else {
      EXPECT_EQ(reply.body.size(), 200u * 1024);
    }
  }
}

TEST(SessionTest, ClosesBehindTheAnswerWhenAsked) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/echo", "Connection: close\r\n");
  EXPECT_EQ(client.Read().Field("Connection"), "close");
  EXPECT_EQ(client.AwaitEnd(), RawClient::End::kClosed);
}

// Closing with unread bytes in the receive buffer makes the kernel reset the connection, which can overtake the answer.
TEST(SessionTest, TheLastAnswerArrivesThoughTheClientSentMore) {
  TestServer server;
  for (int i = 0; i < 20; ++i) {
    RawClient client;
    ASSERT_TRUE(client.Connect(server.port()));
    client.Send("GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" + std::string(100'000, 'x'));
    const HttpReply reply = client.Read();
    ASSERT_TRUE(reply.complete) << i;
    EXPECT_EQ(reply.body.size(), 200u * 1024);
  }
}

TEST(SessionTest, Http10GetsAConnectionOfItsOwn) {
  TestServer server;
  {
    RawClient client;
    ASSERT_TRUE(client.Connect(server.port()));
    client.Send("GET /echo HTTP/1.0\r\n\r\n");
    const HttpReply reply = client.Read();
    EXPECT_EQ(reply.status_line, "HTTP/1.0 200 OK");
    EXPECT_EQ(reply.Field("Connection"), "close");
    EXPECT_EQ(reply.Field("Content-Length"), "10");
    EXPECT_EQ(client.AwaitEnd(), RawClient::End::kClosed);
  }
  const HttpReply stream = Exchange(server.port(), "GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_FALSE(stream.Has("Transfer-Encoding"));
  EXPECT_FALSE(stream.Has("Content-Length"));
  EXPECT_TRUE(stream.complete);
  EXPECT_EQ(stream.body.size(), 200u * 1024);
}

TEST(SessionTest, Http10MayKeepTheConnection) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  for (int i = 0; i < 2; ++i) {
    client.Send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(client.Read().Field("Connection"), "keep-alive");
  }
}

// R-B5: HEAD gets the head alone, whatever the handler writes.
TEST(SessionTest, HeadGetsNoBody) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  for (const char* const target : {"/echo", "/stream", "/nope", "/post"}) {
    client.Request("HEAD", target);
    const HttpReply reply = client.Read(/*to_head=*/true);
    EXPECT_EQ(reply.status, std::string(target) == "/nope" ? 404 : 200) << target;
    // If there were bytes of a body, the next answer would not begin here.
    client.Request("GET", "/echo?" + std::string(target));
    EXPECT_EQ(client.Read().body, "GET /echo " + std::string(target));
  }
}

// R-B5: other methods, known or not, get 405 and are told which are allowed.
TEST(SessionTest, OtherMethodsAreNotAllowed) {
  TestServer server;
  for (const char* const method : {"PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "POST", "BREW", "get"}) {
    const HttpReply reply = Fetch(server.port(), "/echo", method);
    EXPECT_EQ(reply.status, 405) << method;
    EXPECT_EQ(reply.Field("Allow"), "GET, HEAD") << method;
    EXPECT_EQ(reply.Field("Content-Type"), "text/plain; charset=utf-8");
    EXPECT_EQ(reply.body, "Method Not Allowed\n");
  }
  EXPECT_EQ(Fetch(server.port(), "/post", "PUT").Field("Allow"), "GET, HEAD, POST");
}

// R-B6, on the wire and for answers that no handler made.
TEST(SessionTest, EveryAnswerCarriesTheFixedFields) {
  TestServer server;
  for (const std::string& request :
       {std::string("GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"), std::string("GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        std::string("PUT /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"), std::string("GET /echo HTTP/1.1\r\nHost: evil\r\n\r\n"),
        std::string("nonsense\r\n\r\n"), std::string("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")}) {
    const HttpReply reply = Exchange(server.port(), request);
    EXPECT_EQ(reply.Field("X-Content-Type-Options"), "nosniff") << request;
    EXPECT_EQ(reply.Field("Cache-Control"), "no-store") << request;
    EXPECT_EQ(reply.Field("X-Frame-Options"), "DENY") << request;
    EXPECT_EQ(reply.Field("Referrer-Policy"), "no-referrer") << request;
    EXPECT_EQ(reply.Field("Cross-Origin-Resource-Policy"), "same-origin") << request;
    EXPECT_EQ(reply.Field("Cross-Origin-Opener-Policy"), "same-origin") << request;
    EXPECT_FALSE(reply.Has("Server")) << request;
  }
}

TEST(SessionTest, DecodesThePathOnce) {
  TestServer server;
  EXPECT_EQ(Fetch(server.port(), "/%65cho?%65").body, "GET /echo %65");
  EXPECT_EQ(Fetch(server.port(), "/%2565cho").status, 404);
  EXPECT_EQ(Fetch(server.port(), "/x/%2e%2e/echo").Field("Location"), "/echo");
  EXPECT_EQ(Fetch(server.port(), "/%zz").status, 400);
  EXPECT_EQ(Fetch(server.port(), "/echo%00").status, 400);
  EXPECT_EQ(Fetch(server.port(), "/echo%").status, 400);
}

// R-H1: a request line of 8 KiB passes, a longer one is a 414.
TEST(SessionTest, LimitsTheRequestLine) {
  TestServer server;
  const std::string around = "GET /echo? HTTP/1.1\r\n";
  const std::string longest(kMaxRequestLineBytes - around.size(), 'q');
  EXPECT_EQ(Fetch(server.port(), "/echo?" + longest).status, 200);
  EXPECT_EQ(Fetch(server.port(), "/echo?" + longest + "q").status, 414);
  // One that never ends.
  const HttpReply endless = Exchange(server.port(), "GET /" + std::string(2 * kMaxHeaderBytes, 'q'));
  EXPECT_EQ(endless.status, 414);
  EXPECT_EQ(endless.Field("Connection"), "close");
}

// R-H1: 16 KiB of header, 100 fields.
TEST(SessionTest, LimitsTheHeader) {
  TestServer server;
  std::string many;  // and Host
  for (size_t i = 0; i < kMaxHeaderFields - 1; ++i) many += "X: y\r\n";
  EXPECT_EQ(Fetch(server.port(), "/echo", "GET", many).status, 200);
  EXPECT_EQ(Fetch(server.port(), "/echo", "GET", many + "X: y\r\n").status, 431);
  const std::string around = "GET /echo HTTP/1.1\r\nHost: localhost\r\nX: \r\n\r\n";
  const std::string longest(kMaxHeaderBytes - around.size(), 'x');
  EXPECT_EQ(Fetch(server.port(), "/echo", "GET", "X: " + longest + "\r\n").status, 200);
  EXPECT_EQ(Fetch(server.port(), "/echo", "GET", "X: " + longest + "xxxx\r\n").status, 431);
  // One that never ends.
  const HttpReply endless = Exchange(server.port(), "GET / HTTP/1.1\r\nX: " + std::string(3 * kMaxHeaderBytes, 'x'));
  EXPECT_EQ(endless.status, 431);
  EXPECT_EQ(endless.Field("Connection"), "close");
}

// R-H4: decided by the announced length, before any of the body has come.
TEST(SessionTest, RefusesLongBodiesBeforeReadingThem) {
  TestServer server;
  struct Row {
    const char* method;
    const char* target;
    const char* length;
    int status;
  };
  static constexpr Row kRows[] = {
      {"POST", "/post", "1048577", 413}, {"POST", "/post", "10000000000000", 413}, {"POST", "/echo", "8193", 413},
      {"GET", "/echo", "8193", 413},     {"POST", "/nope", "8193", 413},           {"PUT", "/post", "8193", 413},
  };
  for (const Row& row : kRows) {
    RawClient client;
    ASSERT_TRUE(client.Connect(server.port()));
    client.Request(row.method, row.target, "Expect: 100-continue\r\nContent-Length: " + std::string(row.length) + "\r\n");
    const HttpReply reply = client.Read();
    EXPECT_EQ(reply.status, row.status) << row.method << " " << row.target << " " << row.length;
    EXPECT_EQ(reply.Field("Connection"), "close");
  }
}

// R-H4: 1 MiB is taken, whole or in chunks; a chunked one is counted while it comes.
TEST(SessionTest, TakesAPostOfOneMebibyte) {
  TestServer server;
  EXPECT_EQ(Fetch(server.port(), "/post", "POST", "", std::string(kMaxPostBytes, 'x')).body.substr(0, 8), "1048576 ");
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("POST", "/post", "Transfer-Encoding: chunked\r\n");
  client.Send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
  EXPECT_EQ(client.Read().body, "11 hello world");
  client.Request("POST", "/post", "Transfer-Encoding: chunked\r\n");
  for (int i = 0; i < 17; ++i) client.Send("10000\r\n" + std::string(0x10000, 'x') + "\r\n");
  EXPECT_EQ(client.Read().status, 413);
}

// R-H4: what nobody wants is dropped up to 8 KiB, and the connection goes on.
TEST(SessionTest, DropsASmallBodyThatNobodyWants) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  for (const char* const target : {"/echo", "/nope"}) {
    client.Request("GET", target, "Content-Length: 8192\r\n");
    client.Send(std::string(8192, 'x'));
    EXPECT_EQ(client.Read().status, std::string(target) == "/nope" ? 404 : 200);
  }
  client.Request("POST", "/echo", "Content-Length: 3\r\n");
  client.Send("abc");
  EXPECT_EQ(client.Read().status, 405);
  client.Request("GET", "/echo?after");
  EXPECT_EQ(client.Read().body, "GET /echo after");
}

TEST(SessionTest, AsksForABodyThatWaitsToBeAskedFor) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("POST", "/post", "Expect: 100-continue\r\nContent-Length: 5\r\n");
  EXPECT_EQ(client.Read().status, 100);
  client.Send("hello");
  EXPECT_EQ(client.Read().body, "5 hello");
  // HTTP/1.0 knows no such thing.
  client.Send("POST /post HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(client.Read().status, 200);
}

// R-B1, on the wire. HostPolicyTest has the names.
TEST(SessionTest, ServesOnlyItsOwnNames) {
  TestServer server({.allowed_hosts = {"debug.example.com:443"}});
  const std::string port = std::to_string(server.port());
  struct Row {
    std::string target;
    std::string host;
    int status;
  };
  const Row rows[] = {
      {"/echo", "Host: localhost\r\n", 200},
      {"/echo", "Host: LOCALHOST.:" + port + "\r\n", 200},
      {"/echo", "Host: 127.0.0.1:" + port + "\r\n", 200},
      {"/echo", "Host: [::1]\r\n", 200},
      {"/echo", "Host: debug.example.com:443\r\n", 200},
      {"/echo", "Host: localhost:1\r\n", 421},
      {"/echo", "Host: 127.1\r\n", 421},
      {"/echo", "Host: 0177.0.0.1\r\n", 421},
      {"/echo", "Host: localhost6\r\n", 421},
      {"/echo", "Host: evil.com\r\n", 421},
      {"/echo", "Host: localhost.evil.com\r\n", 421},
      {"/echo", "Host:\r\n", 421},
      {"/nope", "Host: evil.com\r\n", 421},
      {"/echo", "", 400},
      {"/echo", "Host: localhost\r\nHost: localhost\r\n", 400},
      // In absolute-form the authority counts, not the field, which has to be there all the same.
      {"http://localhost:" + port + "/echo", "Host: evil.com\r\n", 200},
      {"HTTP://127.0.0.1/echo", "Host: localhost\r\n", 200},
      {"http://evil.com/echo", "Host: localhost\r\n", 421},
      {"http://localhost@evil.com/echo", "Host: localhost\r\n", 421},
      {"http://localhost.evil.com/echo", "Host: localhost\r\n", 421},
      {"http://localhost/echo", "", 400},
      {"http:///echo", "Host: localhost\r\n", 400},
      {"https://localhost/echo", "Host: localhost\r\n", 400},
  };
  for (const Row& row : rows) {
    const HttpReply reply = Exchange(server.port(), "GET " + row.target + " HTTP/1.1\r\n" + row.host + "\r\n");
    EXPECT_EQ(reply.status, row.status) << row.target << " " << row.host;
    EXPECT_EQ(reply.body.find("evil"), std::string::npos) << "the name is not echoed";
  }
  EXPECT_EQ(Exchange(server.port(), "GET /echo HTTP/1.0\r\nHost: evil.com\r\n\r\n").status, 421);
}

TEST(SessionTest, RefusesWhatIsNoRequest) {
  TestServer server;
  struct Row {
    const char* bytes;
    int status;
  };
  static constexpr Row kRows[] = {
      {"nonsense\r\n\r\n", 400},
      {"GET\r\n\r\n", 400},
      {"GET /echo\r\n\r\n", 400},
      {"GET  /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"GET echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
      {"GET /echo HTTP/1.1\r\nHost localhost\r\n\r\n", 400},
      {"GET /echo HTTP/2.0\r\nHost: localhost\r\n\r\n", 505},
      {"GET /echo HTTP/0.9\r\nHost: localhost\r\n\r\n", 505},
      {"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400},
      {"POST /post HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 400},
  };
  for (const Row& row : kRows) {
    RawClient client;
    ASSERT_TRUE(client.Connect(server.port()));
    client.Send(row.bytes);
    const HttpReply reply = client.Read();
    EXPECT_EQ(reply.status, row.status) << row.bytes;
    EXPECT_EQ(reply.Field("Content-Type"), "text/plain; charset=utf-8") << row.bytes;
    EXPECT_EQ(client.AwaitEnd(), RawClient::End::kClosed) << row.bytes;
  }
}

// R-C2: the header's deadline is absolute. The drip would satisfy any time-out per read.
TEST(SessionTest, AHeaderThatDripsLoses) {
  TestServer server({.header_timeout = milliseconds(100)});
  RawClient first;
  ASSERT_TRUE(first.Connect(server.port()));
  EXPECT_TRUE(DripUntilEnd(first, "GET /"));
  EXPECT_EQ(first.AwaitEnd(), RawClient::End::kReset);
  // The second request of a connection, too.
  RawClient second;
  ASSERT_TRUE(second.Connect(server.port()));
  second.Request("GET", "/echo");
  EXPECT_EQ(second.Read().status, 200);
  EXPECT_TRUE(DripUntilEnd(second, "GET /"));
  EXPECT_EQ(second.AwaitEnd(), RawClient::End::kReset);
  // And a client that says nothing.
  RawClient silent;
  ASSERT_TRUE(silent.Connect(server.port()));
  EXPECT_EQ(silent.AwaitEnd(), RawClient::End::kReset);
}

// R-C3.
TEST(SessionTest, ABodyThatDripsLoses) {
  TestServer server({.body_timeout = milliseconds(100)});
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("POST", "/post", "Content-Length: 100000\r\n");
  EXPECT_TRUE(DripUntilEnd(client, "x"));
  EXPECT_EQ(client.AwaitEnd(), RawClient::End::kReset);
}

TEST(SessionTest, AnIdleConnectionIsClosed) {
  TestServer server({.idle_timeout = milliseconds(20)});
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/echo");
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(client.AwaitEnd(), RawClient::End::kReset);
}

// R-C5 and R-D1: a reader that stalls is reset, and meanwhile the server makes no more of the answer than the kernel buffers (4 MiB
// at most on the sending side, its receive buffer here) and one chunk. The dump's thread is free again.
TEST(SessionTest, AReaderThatStallsIsResetAndFreesTheDump) {
  TestServer server({.write_stall_timeout = milliseconds(200), .work_threads = 1, .work_queue = 0});
  RawClient client(/*receive_buffer_bytes=*/4096);
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/flood");
  const TestServer::Flood flood = server.AwaitFloods(1)[0];
  EXPECT_EQ(flood.end, absl::StatusCode::kDeadlineExceeded);
  EXPECT_LE(flood.bytes, 8u << 20);
  EXPECT_EQ(client.AwaitEnd(), RawClient::End::kReset);
  // 429 until the thread has put down the last job.
  int status;
  while ((status = Fetch(server.port(), "/stream").status) == 429) {
  }
  EXPECT_EQ(status, 200);
}

// In bytes, of the process: "VmRSS" now, "VmHWM" at most.
size_t ResidentBytes(const std::string& field) {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    size_t kib = 0;
    if (word == field + ":" && file >> kib) return kib * 1024;
  }
  ADD_FAILURE() << "no " << field;
  return 0;
}

// R-D1: readers that stall cost a chunk each, not a dump each: 16 of them 64 MiB at most, clients included. The most that was
// resident at any time counts; sanitizers add their own.
TEST(SessionTest, SixteenStalledReadersCostLittleMemory) {
  constexpr size_t kReaders = 16;
  TestServer server({.write_stall_timeout = milliseconds(200), .work_threads = kReaders});
  const size_t before = ResidentBytes("VmRSS");
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM starts anew
  std::vector<RawClient> clients;
  for (size_t i = 0; i < kReaders; ++i) {
    clients.emplace_back(/*receive_buffer_bytes=*/4096);
    ASSERT_TRUE(clients.back().Connect(server.port()));
    clients.back().Request("GET", "/flood");
  }
  for (const TestServer::Flood& flood : server.AwaitFloods(kReaders)) {
    EXPECT_EQ(flood.end, absl::StatusCode::kDeadlineExceeded);
    EXPECT_LE(flood.bytes, 8u << 20);
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LE(ResidentBytes("VmHWM"), before + (64u << 20));
#else
  EXPECT_GT(before, 0u);
#endif
}

TEST(SessionTest, AReaderThatLeavesEndsTheDump) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/flood");
  EXPECT_TRUE(client.Readable(std::chrono::hours(1)));
  client.Abort();
  EXPECT_EQ(server.AwaitFloods(1)[0].end, absl::StatusCode::kCancelled);
}

TEST(SessionTest, AClientThatHasSentItsLastRequestIsAnswered) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/stream");
  client.ShutdownSend();
  const HttpReply reply = client.Read();
  EXPECT_TRUE(reply.complete);
  EXPECT_EQ(client.AwaitEnd(), RawClient::End::kClosed);
}

TEST(SessionTest, AWaitSendsWhatThereIsFirst) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/wait");
  EXPECT_TRUE(client.Readable(std::chrono::hours(1)));  // the handler waits for that long
  client.Abort();
  EXPECT_EQ(server.AwaitWaits(1)[0].code(), absl::StatusCode::kCancelled);
}

TEST(SessionTest, AClientThatLeavesEndsAWait) {
  TestServer server;
  size_t waits = 0;
  const auto leave_by = [&](std::string_view version, void (RawClient::*leave)()) {
    RawClient client;
    ASSERT_TRUE(client.Connect(server.port()));
    client.Send("GET /wait HTTP/" + std::string(version) + "\r\nHost: localhost\r\n\r\n");
    EXPECT_TRUE(client.Readable(std::chrono::hours(1)));
    (client.*leave)();
    EXPECT_EQ(server.AwaitWaits(++waits).back().message(), "the client has left") << version;
  };
  for (int i = 0; i < 20; ++i) {
    leave_by("1.1", &RawClient::Close);
    leave_by("1.1", &RawClient::Abort);
    leave_by("1.0", &RawClient::Close);
    leave_by("1.0", &RawClient::Abort);
    leave_by("1.0", &RawClient::ShutdownSend);  // cannot be told from Close
  }
}

TEST(SessionTest, AClientThatHasSentItsLastRequestIsAnsweredAfterManyWaits) {
  for (int i = 0; i < 10; ++i) {
    TestServer server;
    RawClient client;
    ASSERT_TRUE(client.Connect(server.port()));
    client.Request("GET", "/tick");
    client.ShutdownSend();
    server.gate().AwaitEntered(1);
    server.gate().Open();
    const HttpReply reply = client.Read();
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(reply.body, "done");
    EXPECT_TRUE(server.AwaitWaits(1)[0].ok());
  }
}

TEST(SessionTest, PipelinedRequestsDoNotEndAWait) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/tick");
  client.Request("GET", "/echo");
  server.gate().AwaitEntered(1);
  server.gate().Open();
  EXPECT_EQ(client.Read().body, "done");
  EXPECT_EQ(client.Read().body, "GET /echo ");
}

TEST(SessionTest, WaitsLeaveTheWorkThreadsToOthers) {
  TestServer server({.work_threads = 1, .work_queue = 0, .timed_threads = 2});
  std::vector<RawClient> waiting(2);
  for (RawClient& client : waiting) {
    ASSERT_TRUE(client.Connect(server.port()));
    client.Request("GET", "/wait");
    EXPECT_TRUE(client.Readable(std::chrono::hours(1)));
  }
  EXPECT_EQ(Fetch(server.port(), "/stream").status, 200);
  const HttpReply third = Fetch(server.port(), "/wait");
  EXPECT_EQ(third.status, 429);
  EXPECT_EQ(third.Field("Retry-After"), "1");
  EXPECT_EQ(third.body, "too many profiles over an interval in progress, try again\n");
  EXPECT_EQ(Fetch(server.port(), "/wait?untimed").body, "before after");
  EXPECT_EQ(Fetch(server.port(), "/wait", "HEAD").status, 200);
}

TEST(SessionTest, StoppingEndsWaits) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  client.Request("GET", "/wait");
  EXPECT_TRUE(client.Readable(std::chrono::hours(1)));
  server->Stop();
  EXPECT_EQ(server.AwaitWaits(1)[0].message(), "the debug server is stopping");
  EXPECT_FALSE(client.Read().complete);
}

TEST(SessionTest, AnAnswerThatFailsInTheMiddleIsNeverWhole) {
  TestServer server;
  for (const char* const target : {"/cut", "/slowthrow-late"}) {
    for (const char* const version : {"1.0", "1.1"}) {
      const HttpReply reply =
          Exchange(server.port(), std::string("GET ") + target + " HTTP/" + version + "\r\nHost: localhost\r\n\r\n");
      EXPECT_EQ(reply.status, 200);
      EXPECT_FALSE(reply.complete) << target << " " << version;
    }
  }
}

TEST(SessionTest, AHandlerThatThrowsIsA500AndHarmsNobodyElse) {
  TestServer server;
  RawClient client;
  ASSERT_TRUE(client.Connect(server.port()));
  for (int i = 0; i < 3; ++i) {
    client.Request("GET", "/throw");
    const HttpReply fast = client.Read();
    EXPECT_EQ(fast.status, 500);
    EXPECT_EQ(fast.body, "thrown\n");
    client.Request("GET", "/slowthrow");
    EXPECT_EQ(client.Read().status, 500);
    client.Request("GET", "/echo");
    EXPECT_EQ(client.Read().status, 200);
  }
}

}  // namespace
}  // namespace fiberscope::server
