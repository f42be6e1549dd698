#include "server/http/message.h"

namespace fiberscope::server {

Response ErrorResponse(int status, std::string message) {
  Response response;
  response.head.status = status;
  response.head.fields = {{"X-Go-Pprof", "1"}};
  response.body = std::move(message) + "\n";
  return response;
}

Response ErrorResponse(int status, const absl::Status& why) { return ErrorResponse(status, std::string(why.message())); }

}  // namespace fiberscope::server
