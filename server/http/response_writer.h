// How a handler answers: with a whole response, or with a head and then bytes as they come.
#ifndef FIBERSCOPE_SERVER_HTTP_RESPONSE_WRITER_H_
#define FIBERSCOPE_SERVER_HTTP_RESPONSE_WRITER_H_

#include <chrono>
#include <string_view>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "server/http/message.h"

namespace fiberscope::server {

// Thread-confined: used by the thread that runs the handler, for one request.
//
// Either Send() once, or Begin(), then any number of Write(), then Finish() or Fail(). A response that fits into one chunk
// (64 KiB) goes out with Content-Length; a longer one is chunked, and the next chunk is taken only when the client has taken the
// last one: Write() then blocks the thread, and the server never holds more than one chunk per response.
//
// A handler that returns, or throws, without having finished fails with a message of the server's.
class ResponseWriter : public pprof::ByteSink {
 public:
  virtual void Send(Response response) = 0;

  virtual void Begin(ResponseHead head) = 0;
  // kCancelled: the client has left; kDeadlineExceeded: it did not read.
  absl::Status Write(std::string_view bytes) override = 0;
  virtual absl::Status Finish() = 0;

  // Blocks the thread for `time`, for a profile that takes time. What was begun and written so far goes to the client first, so
  // that it sees that its request is being served; an error found later can then only cut the answer off.
  //
  // kCancelled, within moments: the client has left, or the server stops. A client that has closed only its sending side still gets
  // its answer: which it is shows when it is sent one more byte (a leading zero of the size of the next chunk, which says nothing).
  // Without chunks (HTTP/1.0) there is no such byte, and it counts as having left. Not seen: the end of a connection behind bytes
  // that have arrived and are not read, those of a pipelined request.
  //
  // Only in a handler of a route that is `timed` for this request (router.h).
  virtual absl::Status WaitFor(std::chrono::nanoseconds time) = 0;

  // There will be no (more) response. As long as nothing went out the client gets a 500 with the message instead, or a 501 if
  // that is kUnimplemented; otherwise the
  // connection is reset in the middle, so that the client cannot take the part for the whole. Without effect after the end.
  virtual void Fail(const absl::Status& why) = 0;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_RESPONSE_WRITER_H_
