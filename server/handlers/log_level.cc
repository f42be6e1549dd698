#include "server/handlers/log_level.h"

#include <boost/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

namespace json = boost::json;

constexpr std::string_view kInherit = "inherit";

Response JsonResponse(int status, std::string_view key, std::string_view value) {
  Response response;
  response.head.status = status;
  response.head.content_type = "application/json";
  response.body = json::serialize(json::object{{key, value}}) + "\n";
  return response;
}

// The value of "level" in an object.
absl::StatusOr<std::string> LevelInJson(const std::string& body) {
  json::error_code error;
  const json::value value = json::parse(body, error);
  if (error) return absl::InvalidArgumentError("the body is not JSON: " + error.message());
  const json::value* const level = value.is_object() ? value.get_object().if_contains("level") : nullptr;
  if (level == nullptr || !level->is_string()) return absl::InvalidArgumentError("the body has no string \"level\"");
  return std::string(level->get_string());
}

absl::StatusOr<std::string> LevelInForm(const std::string& body) {
  const absl::StatusOr<Query> form = Query::Parse(body);
  if (!form.ok()) return form.status();
  const absl::StatusOr<std::optional<std::string>> level = form->Get("level");
  if (!level.ok()) return level.status();
  if (!level->has_value()) return absl::InvalidArgumentError("the body is neither a JSON object nor a form with a level");
  return **level;
}

absl::StatusOr<std::string> ParseModule(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<std::optional<std::string>> module = query->Get("module");
  if (!module.ok()) return module.status();
  return module->value_or("");
}

absl::Status SetLevel(const std::string& body, const std::string& module, log::Levels& levels) {
  const absl::StatusOr<std::string> name = body.starts_with('{') ? LevelInJson(body) : LevelInForm(body);
  if (!name.ok()) return name.status();
  if (*name == kInherit && !module.empty()) {
    levels.Inherit(module);
    return absl::OkStatus();
  }
  const std::optional<log::Level> level = log::ParseLevel(*name);
  if (level.has_value()) return levels.Set(module, *level);
  std::string names;
  for (const std::string_view known : log::kLevelNames) names.append(known).append(", ");
  return absl::InvalidArgumentError("unknown level; there are " + names + "and for a module " + std::string(kInherit));
}

}  // namespace

Handler MakeLogLevelHandler(log::Levels& levels) {
  return [&levels](const Request& request, ResponseWriter& writer) {
    const absl::StatusOr<std::string> module = ParseModule(request);
    absl::Status status = module.status();
    if (status.ok() && request.method == Method::kPut) status = SetLevel(request.body, *module, levels);
    if (!status.ok()) return writer.Send(JsonResponse(400, "error", {status.message().data(), status.message().size()}));
    writer.Send(JsonResponse(200, "level", log::LevelName(levels.Of(*module))));
  };
}

}  // namespace fiberscope::server
