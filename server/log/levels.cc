#include "server/log/levels.h"

namespace fiberscope::log {

Levels::Levels(Level level) { set_.emplace("", level); }

Levels::Module& Levels::Get(std::string_view name) {
  std::lock_guard lock(mutex_);
  auto at = modules_.find(name);
  if (at == modules_.end()) {
    at = modules_.emplace(std::string(name), std::make_unique<Module>(std::string(name), Find(name))).first;
  }
  return *at->second;
}

Level Levels::Of(std::string_view module) const {
  std::lock_guard lock(mutex_);
  return Find(module);
}

absl::Status Levels::Set(std::string_view module, Level level) {
  if (module.size() > kMaxNameBytes) return absl::InvalidArgumentError("the module's name is longer than 256 bytes");
  std::lock_guard lock(mutex_);
  if (set_.size() > kMaxSet && set_.find(module) == set_.end()) {
    return absl::ResourceExhaustedError("1000 modules have levels of their own already");
  }
  set_.insert_or_assign(std::string(module), level);
  Refresh();
  return absl::OkStatus();
}

void Levels::Inherit(std::string_view module) {
  if (module.empty()) return;
  std::lock_guard lock(mutex_);
  if (const auto at = set_.find(module); at != set_.end()) set_.erase(at);
  Refresh();
}

Level Levels::Find(std::string_view module) const {
  for (;;) {
    if (const auto at = set_.find(module); at != set_.end()) return at->second;
    const size_t slash = module.rfind('/');
    module = slash == std::string_view::npos ? std::string_view() : module.substr(0, slash);
  }
}

void Levels::Refresh() {
  for (const auto& [name, module] : modules_) module->level_.store(Find(name), std::memory_order_relaxed);
}

}  // namespace fiberscope::log
