// An HTTP server on a port of the system's choice, with handlers that tests can hold, stall and count.
//
//   /echo    answers at once, with the method, path and query it saw
//   /post    slow, takes POST: the number of bytes of the body and the body
//   /gate    slow: waits at gate()
//   /stream  slow: 200 KiB of 'x'
//   /flood   slow: writes until the client is gone; AwaitFloods() tells how that ended
//   /cut     slow: 100 KiB, then fails
//   /wait    timed unless the query is "untimed": says "before", waits for an hour, says "after"; gate() is passed before the wait
//   /tick    timed: waits for a millisecond until gate() opens, then says "done"
//   /throw, /slowthrow, /slowthrow-late   throw an exception: at once, on a work thread, behind 100 KiB
#ifndef FIBERSCOPE_TESTS_SERVER_HTTP_TEST_SERVER_H_
#define FIBERSCOPE_TESTS_SERVER_HTTP_TEST_SERVER_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "server/http/http_server.h"
#include "tests/server/http/gate.h"

namespace fiberscope::testing {

class TestServer {
 public:
  struct Flood {
    absl::StatusCode end;
    size_t bytes;
  };

  explicit TestServer(server::HttpServerOptions options = {}) {
    auto server = server::HttpServer::Start(options, server::Router(Routes()));
    EXPECT_TRUE(server.ok()) << server.status();
    if (server.ok()) server_ = *std::move(server);
  }
  // Whoever waits at the gate is let go, for the server to end.
  ~TestServer() { gate_.Open(); }

  server::HttpServer& operator*() { return *server_; }
  server::HttpServer* operator->() { return server_.get(); }
  uint16_t port() const { return server_->port(); }
  Gate& gate() { return gate_; }

  // Waits until `count` handlers of /flood have ended.
  std::vector<Flood> AwaitFloods(size_t count) {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return floods_.size() >= count; });
    return floods_;
  }

  // Waits until `count` handlers of /wait and /tick have been told how their waits ended.
  std::vector<absl::Status> AwaitWaits(size_t count) {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return waits_.size() >= count; });
    return waits_;
  }

 private:
  std::vector<server::Route> Routes() {
    using server::Request;
    using server::ResponseWriter;
    return {
        {.path = "/echo", .handler =
             [](const Request& request, ResponseWriter& writer) {
               const char* const method = request.method == server::Method::kGet ? "GET" : "other";
               writer.Send({.head = {}, .body = std::string(method) + " " + request.path + " " + request.raw_query});
             }},
        {.path = "/post", .post = true, .slow = true, .handler =
             [](const Request& request, ResponseWriter& writer) {
               writer.Send({.head = {}, .body = std::to_string(request.body.size()) + " " + request.body.substr(0, 100)});
             }},
        {.path = "/gate", .slow = true, .handler =
             [this](const Request&, ResponseWriter& writer) {
               gate_.Pass();
               writer.Send({.head = {}, .body = "through"});
             }},
        {.path = "/stream", .slow = true, .handler = [](const Request&, ResponseWriter& writer) { Stream(200, writer); }},
        {.path = "/flood", .slow = true, .handler = [this](const Request&, ResponseWriter& writer) { RunFlood(writer); }},
        {.path = "/cut", .slow = true, .handler =
             [](const Request&, ResponseWriter& writer) {
               writer.Begin({});
               (void)writer.Write(std::string(100 * 1024, 'x'));
               writer.Fail(absl::InternalError("cut"));
             }},
        {.path = "/wait", .slow = true, .timed = [](const Request& request) { return request.raw_query != "untimed"; }, .handler =
             [this](const Request& request, ResponseWriter& writer) { RunWait(request, writer); }},
        {.path = "/tick", .slow = true, .timed = [](const Request&) { return true; }, .handler =
             [this](const Request&, ResponseWriter& writer) { RunTicks(writer); }},
        {.path = "/throw", .handler = [](const Request&, ResponseWriter&) { throw std::runtime_error("thrown"); }},
        {.path = "/slowthrow", .slow = true, .handler = [](const Request&, ResponseWriter&) { throw 7; }},
        {.path = "/slowthrow-late", .slow = true, .handler =
             [](const Request&, ResponseWriter& writer) {
               writer.Begin({});
               (void)writer.Write(std::string(100 * 1024, 'x'));
               throw std::runtime_error("thrown");
             }},
    };
  }

  static void Stream(int kib, server::ResponseWriter& writer) {
    writer.Begin({});
    for (int i = 0; i < kib; ++i) (void)writer.Write(std::string(1024, 'x'));
    (void)writer.Finish();
  }

  void RunFlood(server::ResponseWriter& writer) {
    writer.Begin({});
    Flood flood{absl::StatusCode::kOk, 0};
    while (flood.end == absl::StatusCode::kOk) {
      flood.end = writer.Write(std::string(16 * 1024, 'x')).code();
      flood.bytes += 16 * 1024;
    }
    const std::lock_guard lock(mutex_);
    floods_.push_back(flood);
    ended_.notify_all();
  }

  void RunWait(const server::Request& request, server::ResponseWriter& writer) {
    writer.Begin({});
    (void)writer.Write("before ");
    const bool waits = request.method != server::Method::kHead && request.raw_query != "untimed";
    if (waits) End(writer.WaitFor(std::chrono::hours(1)), writer);
    (void)writer.Write("after");
    (void)writer.Finish();
  }

  void RunTicks(server::ResponseWriter& writer) {
    writer.Begin({});
    gate_.Enter();
    absl::Status status;
    while (status.ok() && !gate_.is_open()) status = writer.WaitFor(std::chrono::milliseconds(1));
    if (status.ok()) (void)writer.Write("done");
    (void)writer.Finish();
    End(status, writer);
  }

  void End(const absl::Status& status, server::ResponseWriter& writer) {
    if (!status.ok()) writer.Fail(status);
    const std::lock_guard lock(mutex_);
    waits_.push_back(status);
    ended_.notify_all();
  }

  Gate gate_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Flood> floods_;         // GUARDED_BY(mutex_)
  std::vector<absl::Status> waits_;  // GUARDED_BY(mutex_)
  std::unique_ptr<server::HttpServer> server_;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_SERVER_HTTP_TEST_SERVER_H_
