#include "server/handlers/vars.h"

#include <utility>

namespace fiberscope::server {

Handler MakeVarsHandler(const VarRegistry& vars) {
  return [&vars](const Request&, ResponseWriter& writer) {
    Response response;
    response.head.content_type = "application/json; charset=utf-8";
    response.body = vars.Json();
    writer.Send(std::move(response));
  };
}

}  // namespace fiberscope::server
