#include "server/vars/var_registry.h"

#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "pprof/encode/go_quote.h"
#include "pprof/utf8.h"
#include "server/render/json.h"

namespace fiberscope::server {
namespace {

constexpr size_t kMaxNameBytes = 256;

absl::Status CheckName(std::string_view name) {
  const auto wrong = [&](const char* why) {
    return absl::InvalidArgumentError(absl::StrFormat("a variable cannot be called %s: %s; choose another name",
                                                      pprof::GoQuote(pprof::Utf8Prefix(name, kMaxNameBytes)), why));
  };
  if (name.empty()) return wrong("that is no name");
  if (name.size() > kMaxNameBytes) return wrong("names have at most 256 bytes");
  for (std::string_view rest = name; !rest.empty();) {
    const pprof::Utf8Character character = pprof::DecodeUtf8(rest);
    if (!character.valid) return wrong("it is not UTF-8");
    if (character.code_point < ' ' || character.code_point == 0x7f) return wrong("it has a control character");
    rest.remove_prefix(character.length);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status VarRegistry::Publish(std::string_view name, std::shared_ptr<Var> var) {
  if (absl::Status status = CheckName(name); !status.ok()) return status;
  if (var == nullptr) {
    return absl::InvalidArgumentError(absl::StrFormat("variable %s is null: publish one that is there", pprof::GoQuote(name)));
  }
  const std::lock_guard lock(mutex_);
  if (vars_.try_emplace(std::string(name), std::move(var)).second) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrFormat(
      "a variable %s is published already: choose another name, or use the one that Find() returns", pprof::GoQuote(name)));
}

absl::Status VarRegistry::PublishFunc(std::string_view name, std::function<boost::json::value()> function) {
  return Publish(name, std::make_shared<FuncVar>(std::move(function)));
}

std::shared_ptr<Var> VarRegistry::Find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto at = vars_.find(name);
  return at == vars_.end() ? nullptr : at->second;
}

std::string VarRegistry::Json() const {
  std::vector<std::pair<std::string, std::shared_ptr<const Var>>> vars;
  {
    const std::lock_guard lock(mutex_);
    vars.assign(vars_.begin(), vars_.end());
  }
  std::string json = "{\n";
  for (bool is_first = true; const auto& [name, var] : vars) {
    if (!std::exchange(is_first, false)) json += ",\n";
    AppendJsonString(name, json);
    json += ": ";
    var->AppendTo(json);
  }
  json += "\n}\n";
  return json;
}

}  // namespace fiberscope::server
