// Byte sinks that misbehave or remember how they were used.
#ifndef FIBERSCOPE_TESTS_TESTING_SINKS_H_
#define FIBERSCOPE_TESTS_TESTING_SINKS_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"

namespace fiberscope::pprof {

// A reader that leaves after `limit` bytes.
class LeavingSink : public ByteSink {
 public:
  explicit LeavingSink(size_t limit) : limit_(limit) {}

  absl::Status Write(std::string_view bytes) override {
    ++writes_;
    taken_ += bytes.size();
    if (taken_ > limit_) {
      ++refusals_;
      return absl::CancelledError("the reader left");
    }
    return absl::OkStatus();
  }

  int writes() const { return writes_; }
  int refusals() const { return refusals_; }  // more than one: the writer went on after an error

 private:
  const size_t limit_;
  size_t taken_ = 0;
  int writes_ = 0;
  int refusals_ = 0;
};

// Collects, and notes the size of the largest piece.
class MeasuringSink : public ByteSink {
 public:
  absl::Status Write(std::string_view bytes) override {
    ++writes_;
    largest_ = std::max(largest_, bytes.size());
    text_.append(bytes);
    return absl::OkStatus();
  }

  const std::string& text() const { return text_; }
  size_t largest() const { return largest_; }
  int writes() const { return writes_; }

 private:
  std::string text_;
  size_t largest_ = 0;
  int writes_ = 0;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_TESTS_TESTING_SINKS_H_
