// The name of a request, by which people find it in logs, dumps and profiles.
#ifndef FIBERSCOPE_RUNTIME_REQUEST_ID_H_
#define FIBERSCOPE_RUNTIME_REQUEST_ID_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fiberscope {

// 1 to kMaxBytes visible ASCII characters without quotes, backslashes, commas and semicolons: harmless in a header, a log, a URL's
// query once escaped.
class RequestId {
 public:
  static constexpr size_t kMaxBytes = 128;

  // A UUID of version 7: begins with the time, in ms. Format: RFC 9562, section 5.7.
  static RequestId New();
  static std::optional<RequestId> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  bool operator==(const RequestId&) const = default;

 private:
  explicit RequestId(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_REQUEST_ID_H_
