// Turns what a handler writes into HTTP/1.1 bytes, a chunk at a time.
#ifndef FIBERSCOPE_SERVER_HTTP_RESPONSE_STREAM_H_
#define FIBERSCOPE_SERVER_HTTP_RESPONSE_STREAM_H_

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/http/response_writer.h"

namespace fiberscope::server {

// How the request wants to be answered.
struct ResponseMode {
  bool head_only = false;   // HEAD
  bool http_1_0 = false;    // no chunks: the end of the connection is the end of the body
  bool keep_alive = true;
};

// Thread-compatible. One per request.
class ResponseStream : public ResponseWriter {
 public:
  static constexpr size_t kChunkBytes = 64 * 1024;

  // Hands finished bytes to the connection and waits until they are written. Null: there is no way to wait here (the I/O
  // thread); everything is kept until Take().
  using Flush = std::function<absl::Status(std::string wire)>;

  // Whether kProbeByte may be sent during a wait, to see whether the client is there.
  enum class Probe { kForbidden, kAllowed, kSent };
  static constexpr char kProbeByte = '0';  // a leading zero of the size of the next chunk

  // What came of a wait; `probe` becomes kSent if it was kAllowed and the byte went out.
  struct Waited {
    absl::Status status;
    Probe probe;
  };
  using Wait = std::function<Waited(std::chrono::nanoseconds time, Probe probe)>;

  // Without `wait`, WaitFor() is a CHECK failure.
  ResponseStream(const ResponseMode& mode, Flush flush, Wait wait = nullptr)
      : mode_(mode), flush_(std::move(flush)), wait_(std::move(wait)) {}

  void Send(Response response) override;
  void Begin(ResponseHead head) override;
  absl::Status Write(std::string_view bytes) override;
  absl::Status Finish() override;
  absl::Status WaitFor(std::chrono::nanoseconds time) override;
  void Fail(const absl::Status& why) override;

  // Once, when the handler has returned: the bytes still to be written, and whether the connection may be used again after them.
  struct Rest {
    std::string wire;
    bool keep_alive = true;
    bool broken = false;  // part of a body went out and the rest will not come: reset the connection
  };
  Rest Take();

 private:
  enum class State { kNothing, kBegun, kStreaming, kFinished };

  absl::Status FlushChunk(bool last);
  std::string Head(std::string_view framing_field);

  const ResponseMode mode_;
  const Flush flush_;
  const Wait wait_;
  State state_ = State::kNothing;
  ResponseHead head_;
  bool head_out_ = false;
  bool close_delimited_ = false;
  bool probed_ = false;  // kProbeByte went out, and no chunk since
  std::string body_;  // of the next chunk
  std::string wire_;  // to be written by whoever calls Take()
  absl::Status status_;
};

// The head of a response as it goes over the wire, the fields that every response carries included. The one place that all
// fields pass: one whose value holds a line break or another control character, or whose name is no name, is left out, so that
// whoever chooses a profile's name cannot write fields or a body of his own.
std::string SerializeHead(const ResponseHead& head, const ResponseMode& mode, std::string_view framing_field);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_RESPONSE_STREAM_H_
