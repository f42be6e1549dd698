// A response writer that keeps what a handler answers.
#ifndef FIBERSCOPE_TESTS_TESTING_RECORDING_WRITER_H_
#define FIBERSCOPE_TESTS_TESTING_RECORDING_WRITER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "server/http/response_writer.h"
#include "server/http/router.h"

namespace fiberscope::testing {

// Thread-compatible. `client_leaves_after` bytes, Write() fails.
class RecordingWriter : public server::ResponseWriter {
 public:
  explicit RecordingWriter(size_t client_leaves_after = SIZE_MAX) : client_leaves_after_(client_leaves_after) {}

  void Send(server::Response response) override {
    Begin(std::move(response.head));
    body_ = std::move(response.body);
    ended_ = true;
  }
  void Begin(server::ResponseHead head) override {
    head_ = std::move(head);
    ++answers_;
  }
  absl::Status Write(std::string_view bytes) override {
    ++writes_;
    if (body_.size() + bytes.size() > client_leaves_after_) return absl::CancelledError("the client has left");
    body_.append(bytes);
    return absl::OkStatus();
  }
  absl::Status Finish() override {
    ended_ = true;
    return absl::OkStatus();
  }
  absl::Status WaitFor(std::chrono::nanoseconds time) override {
    waited_ += time;
    return on_wait_ ? on_wait_() : absl::OkStatus();
  }
  void Fail(const absl::Status& why) override { failure_ = why; }

  // What happens while the handler waits, and how that ends.
  void set_on_wait(std::function<absl::Status()> on_wait) { on_wait_ = std::move(on_wait); }
  std::chrono::nanoseconds waited() const { return waited_; }  // in all; no time has passed

  const server::ResponseHead& head() const { return head_; }
  const std::string& body() const { return body_; }
  const absl::Status& failure() const { return failure_; }
  int answers() const { return answers_; }
  int writes() const { return writes_; }
  bool ended() const { return ended_; }

  // "" if absent.
  std::string Field(std::string_view name) const {
    for (const auto& [field, value] : head_.fields) {
      if (field == name) return value;
    }
    return "";
  }

 private:
  const size_t client_leaves_after_;
  server::ResponseHead head_;
  std::string body_;
  absl::Status failure_;
  std::function<absl::Status()> on_wait_;
  std::chrono::nanoseconds waited_{0};
  int answers_ = 0;
  int writes_ = 0;
  bool ended_ = false;
};

// What `handler` answers to the request.
inline RecordingWriter Answer(const server::Handler& handler, const server::Request& request) {
  RecordingWriter writer;
  handler(request, writer);
  EXPECT_EQ(writer.answers(), 1);
  return writer;
}

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_RECORDING_WRITER_H_
