// What a handler sees of a request, and says of a response. Knows no Beast.
#ifndef FIBERSCOPE_SERVER_HTTP_MESSAGE_H_
#define FIBERSCOPE_SERVER_HTTP_MESSAGE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace fiberscope::server {

enum class Method { kGet, kHead, kPost, kPut, kOther };

struct Request {
  Method method = Method::kGet;
  std::string path = {};       // percent-decoded once; begins with '/'
  std::string raw_query = {};  // what follows the first '?', as it came
  std::string body = {};       // POST and PUT only
  // It has the header X-Fiberscope-Change, which no form or link of a web page can send, and no browser says that a page of another
  // site has sent it. What changes a setting needs that.
  bool may_change = false;
};

// Status line and fields; the fields that every response carries are added when it is written (response_writer.h).
struct ResponseHead {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> fields = {};
};

struct Response {
  ResponseHead head = {};
  std::string body = {};
};

// The form of every error that a handler makes: plain text with X-Go-Pprof set, without which go tool pprof does not show the
// text. `message` gets a line feed. Format: Go 1.27 net/http/pprof, serveError.
Response ErrorResponse(int status, std::string message);
// The same with the message of `why`.
Response ErrorResponse(int status, const absl::Status& why);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_MESSAGE_H_
