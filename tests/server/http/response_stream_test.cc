#include "server/http/response_stream.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

constexpr char kFixed[] =
    "X-Content-Type-Options: nosniff\r\n"
    "Cache-Control: no-store\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n";

// A connection that keeps what it is handed, and fails after `limit` pieces.
struct Connection {
  explicit Connection(size_t limit = SIZE_MAX) : limit(limit) {}

  ResponseStream::Flush flush() {
    return [this](std::string wire) -> absl::Status {
      if (pieces.size() == limit) return absl::CancelledError("the client has left");
      pieces.push_back(std::move(wire));
      return absl::OkStatus();
    };
  }

  size_t limit;
  std::vector<std::string> pieces;
};

TEST(ResponseStreamTest, ASmallAnswerHasALength) {
  ResponseStream stream({}, nullptr);
  stream.Send({.head = {}, .body = "hello\n"});
  const ResponseStream::Rest rest = stream.Take();
  EXPECT_EQ(rest.wire, std::string("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n") + kFixed +
                           "Content-Length: 6\r\n\r\nhello\n");
  EXPECT_TRUE(rest.keep_alive);
  EXPECT_FALSE(rest.broken);
}

TEST(ResponseStreamTest, AWaitSendsTheHeadAndTheProbeIsTheBeginningOfTheNextChunk) {
  using Probe = ResponseStream::Probe;
  Connection connection;
  std::vector<Probe> asked;
  bool client_seems_gone = false;
  const auto wait = [&](std::chrono::nanoseconds, Probe probe) {
    asked.push_back(probe);
    return ResponseStream::Waited{absl::OkStatus(), client_seems_gone && probe == Probe::kAllowed ? Probe::kSent : probe};
  };
  const auto answer = [&](const ResponseMode& mode, bool body) {
    connection.pieces.clear();
    asked.clear();
    ResponseStream stream(mode, connection.flush(), wait);
    stream.Begin({});
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(stream.WaitFor(std::chrono::seconds(1)).ok());
    const absl::Status written = body ? stream.Write("hello") : absl::OkStatus();
    EXPECT_TRUE(written.ok());
    EXPECT_TRUE(stream.Finish().ok());
    const std::string last = stream.Take().wire;
    EXPECT_EQ(connection.pieces.size(), 1u);  // the head
    return last;
  };
  EXPECT_EQ(answer({}, true), "5\r\nhello\r\n0\r\n\r\n");
  EXPECT_EQ(asked, (std::vector{Probe::kAllowed, Probe::kAllowed}));
  EXPECT_NE(connection.pieces[0].find("Transfer-Encoding: chunked\r\n\r\n"), std::string::npos);
  EXPECT_EQ(answer({.http_1_0 = true}, true), "hello");
  EXPECT_EQ(asked, (std::vector{Probe::kForbidden, Probe::kForbidden}));
  client_seems_gone = true;  // of each answer, kProbeByte went out before
  EXPECT_EQ(answer({}, true), "5\r\nhello\r\n0\r\n\r\n");
  EXPECT_EQ(asked, (std::vector{Probe::kAllowed, Probe::kSent}));
  EXPECT_EQ(answer({}, false), "\r\n\r\n");
}

TEST(ResponseStreamTest, WhatIsNotImplementedIsA501) {
  ResponseStream stream({}, nullptr);
  stream.Begin({.content_type = "application/octet-stream"});
  stream.Fail(absl::UnimplementedError("link tcmalloc"));
  const std::string wire = stream.Take().wire;
  EXPECT_EQ(wire.find("HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\n"), 0u) << wire;
  EXPECT_NE(wire.find("X-Go-Pprof: 1\r\n"), std::string::npos);
  EXPECT_NE(wire.find("\r\n\r\nlink tcmalloc\n"), std::string::npos);
}

// R-B6: every response carries them, errors too, and none names the server's software.
TEST(ResponseStreamTest, EveryResponseCarriesTheFixedFields) {
  for (const int status : {200, 307, 400, 404, 405, 413, 421, 429, 500, 503}) {
    ResponseStream stream({}, nullptr);
    stream.Send(ErrorResponse(status, "x"));
    const std::string wire = stream.Take().wire;
    EXPECT_NE(wire.find(kFixed), std::string::npos) << wire;
    EXPECT_NE(wire.find("X-Go-Pprof: 1\r\n"), std::string::npos) << wire;
    EXPECT_EQ(wire.find("Server:"), std::string::npos) << wire;
    EXPECT_EQ(wire.find("Access-Control"), std::string::npos) << wire;
  }
}

// R-H6: a line break or another control character in a value leaves out the field; nothing of it reaches the wire.
TEST(ResponseStreamTest, NoFieldCanWriteAnother) {
  for (const std::string& evil : {std::string("a\r\nSet-Cookie: evil"), std::string("a\nevil"), std::string("a\revil"),
                                  std::string("evil\0", 5), std::string("evil\x7f"), std::string("evil\t")}) {
    ResponseHead head;
    head.content_type = evil;
    head.fields = {{"Content-Disposition", evil}, {"X-Good", "1"}};
    const std::string wire = SerializeHead(head, {}, "");
    EXPECT_EQ(wire, "HTTP/1.1 200 OK\r\n" + std::string(kFixed) + "X-Good: 1\r\n\r\n");
  }
  for (const std::string evil : {"", "evil name", "evil\r\nX", "evil:"}) {
    ResponseHead head;
    head.fields = {{evil, "evil"}};
    EXPECT_EQ(SerializeHead(head, {}, "").find("evil"), std::string::npos) << evil;
  }
}

// R-D1: pieces of 64 KiB at most, each handed on before the next is taken.
TEST(ResponseStreamTest, ALongAnswerIsChunked) {
  Connection connection;
  ResponseStream stream({}, connection.flush());
  stream.Begin({});
  const std::string body(3 * ResponseStream::kChunkBytes / 2, 'x');
  ASSERT_TRUE(stream.Write(body).ok());
  ASSERT_EQ(connection.pieces.size(), 1u);
  EXPECT_NE(connection.pieces[0].find("Transfer-Encoding: chunked\r\n\r\n10000\r\nx"), std::string::npos);
  EXPECT_EQ(connection.pieces[0].find("Content-Length"), std::string::npos);
  ASSERT_TRUE(stream.Write(body).ok());
  ASSERT_EQ(connection.pieces.size(), 3u);
  EXPECT_EQ(connection.pieces[1], "10000\r\n" + std::string(0x10000, 'x') + "\r\n");
  ASSERT_TRUE(stream.Finish().ok());
  const ResponseStream::Rest rest = stream.Take();
  EXPECT_EQ(connection.pieces.size(), 3u);
  EXPECT_EQ(rest.wire, "0\r\n\r\n");
  EXPECT_TRUE(rest.keep_alive);
}

TEST(ResponseStreamTest, WhatFitsIntoAChunkHasALength) {
  Connection connection;
  ResponseStream stream({}, connection.flush());
  stream.Begin({});
  ASSERT_TRUE(stream.Write(std::string(ResponseStream::kChunkBytes - 1, 'x')).ok());
  ASSERT_TRUE(stream.Finish().ok());
  EXPECT_TRUE(connection.pieces.empty());
  EXPECT_NE(stream.Take().wire.find("Content-Length: 65535\r\n"), std::string::npos);
}

TEST(ResponseStreamTest, Http10HasNoChunksAndEndsWithTheConnection) {
  Connection connection;
  ResponseStream stream({.http_1_0 = true, .keep_alive = true}, connection.flush());
  stream.Begin({});
  ASSERT_TRUE(stream.Write(std::string(ResponseStream::kChunkBytes + 1, 'x')).ok());
  ASSERT_TRUE(stream.Finish().ok());
  const ResponseStream::Rest rest = stream.Take();
  ASSERT_EQ(connection.pieces.size(), 1u);
  EXPECT_EQ(connection.pieces[0].find("HTTP/1.0 200 OK\r\n"), 0u);
  EXPECT_NE(connection.pieces[0].find("Connection: close\r\n\r\nxxx"), std::string::npos);
  EXPECT_EQ(connection.pieces[0].find("Transfer-Encoding"), std::string::npos);
  EXPECT_EQ(rest.wire, "x");
  EXPECT_FALSE(rest.keep_alive);
}

TEST(ResponseStreamTest, Http10BodyOfWholeChunksEndsWithoutASecondHead) {
  Connection connection;
  ResponseStream stream({.http_1_0 = true, .keep_alive = true}, connection.flush());
  stream.Begin({});
  ASSERT_TRUE(stream.Write(std::string(ResponseStream::kChunkBytes, 'x')).ok());
  ASSERT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.Take().wire, "");
}

TEST(ResponseStreamTest, Http10KeepsTheConnectionBehindAKnownLength) {
  ResponseStream stream({.http_1_0 = true, .keep_alive = true}, nullptr);
  stream.Send({.head = {}, .body = "x"});
  const ResponseStream::Rest rest = stream.Take();
  EXPECT_NE(rest.wire.find("Connection: keep-alive\r\n"), std::string::npos);
  EXPECT_TRUE(rest.keep_alive);
}

TEST(ResponseStreamTest, HeadGetsTheLengthOfTheBodyButNoBody) {
  ResponseStream stream({.head_only = true}, nullptr);
  stream.Send({.head = {}, .body = "hello\n"});
  const std::string wire = stream.Take().wire;
  EXPECT_NE(wire.find("Content-Length: 6\r\n"), std::string::npos);
  EXPECT_TRUE(wire.ends_with("\r\n\r\n")) << wire;
}

TEST(ResponseStreamTest, HeadOfABodyThatWasNotMadeClaimsNoLength) {
  ResponseStream stream({.head_only = true}, nullptr);
  stream.Begin({});
  ASSERT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.Take().wire.find("Content-Length"), std::string::npos);
}

TEST(ResponseStreamTest, HeadOfALongBodyHasNoBytesOfIt) {
  Connection connection;
  ResponseStream stream({.head_only = true}, connection.flush());
  stream.Begin({});
  ASSERT_TRUE(stream.Write(std::string(2 * ResponseStream::kChunkBytes, 'x')).ok());
  ASSERT_TRUE(stream.Finish().ok());
  EXPECT_TRUE(connection.pieces[0].ends_with("\r\n\r\n"));
  EXPECT_EQ(connection.pieces[1], "");
  EXPECT_EQ(stream.Take().wire, "");
}

TEST(ResponseStreamTest, FailingBeforeAnythingWentOutIsA500) {
  Connection connection;
  ResponseStream stream({}, connection.flush());
  ResponseHead head;
  head.fields = {{"Content-Disposition", "attachment"}};
  stream.Begin(head);
  ASSERT_TRUE(stream.Write("half of it").ok());
  stream.Fail(absl::InternalError("no memory"));
  const ResponseStream::Rest rest = stream.Take();
  EXPECT_EQ(rest.wire.find("HTTP/1.1 500 Internal Server Error\r\n"), 0u);
  EXPECT_NE(rest.wire.find("X-Go-Pprof: 1\r\n"), std::string::npos);
  EXPECT_EQ(rest.wire.find("Content-Disposition"), std::string::npos);
  EXPECT_TRUE(rest.wire.ends_with("\r\n\r\nno memory\n"));
  EXPECT_FALSE(rest.broken);
}

TEST(ResponseStreamTest, FailingInTheMiddleBreaksTheConnection) {
  Connection connection;
  ResponseStream stream({}, connection.flush());
  stream.Begin({});
  ASSERT_TRUE(stream.Write(std::string(ResponseStream::kChunkBytes, 'x')).ok());
  stream.Fail(absl::InternalError("no memory"));
  const ResponseStream::Rest rest = stream.Take();
  EXPECT_TRUE(rest.broken);
  EXPECT_EQ(rest.wire, "");
}

TEST(ResponseStreamTest, FailingAfterTheEndChangesNothing) {
  ResponseStream stream({}, nullptr);
  stream.Send({.head = {}, .body = "done\n"});
  stream.Fail(absl::InternalError("too late"));
  EXPECT_TRUE(stream.Take().wire.ends_with("\r\n\r\ndone\n"));
}

TEST(ResponseStreamTest, AHandlerThatSaysNothingIsA500) {
  ResponseStream nothing({}, nullptr);
  EXPECT_TRUE(nothing.Take().wire.ends_with("\r\n\r\nthe handler ended without an answer\n"));
  ResponseStream begun({}, nullptr);
  begun.Begin({});
  EXPECT_EQ(begun.Take().wire.find("HTTP/1.1 500 "), 0u);
}

TEST(ResponseStreamTest, AHandlerThatForgetsToFinishBreaksTheConnection) {
  Connection connection;
  ResponseStream stream({}, connection.flush());
  stream.Begin({});
  ASSERT_TRUE(stream.Write(std::string(ResponseStream::kChunkBytes, 'x')).ok());
  EXPECT_TRUE(stream.Take().broken);
}

TEST(ResponseStreamTest, TheFirstErrorOfTheConnectionStays) {
  Connection connection(1);
  ResponseStream stream({}, connection.flush());
  stream.Begin({});
  const std::string chunk(ResponseStream::kChunkBytes, 'x');
  ASSERT_TRUE(stream.Write(chunk).ok());
  EXPECT_EQ(stream.Write(chunk).code(), absl::StatusCode::kCancelled);
  connection.limit = SIZE_MAX;
  EXPECT_EQ(stream.Write("x").code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(stream.Finish().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(connection.pieces.size(), 1u);
  EXPECT_TRUE(stream.Take().broken);
}

TEST(ResponseStreamDeathTest, TwoAnswersAreABug) {
  ResponseStream stream({}, nullptr);
  stream.Send({});
  EXPECT_DEATH(stream.Send({}), "answers a request twice");
  ResponseStream unbegun({}, nullptr);
  EXPECT_DEATH((void)unbegun.Write("x"), "writes outside of a response");
  EXPECT_DEATH((void)unbegun.Finish(), "finishes no response");
}

}  // namespace
}  // namespace fiberscope::server
