#include "pprof/profile_catalog.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fiberscope::pprof {
namespace {

std::string_view NameOf(const std::unique_ptr<ProfileSource>& source) { return source->name(); }

}  // namespace

absl::Status ProfileCatalog::Add(std::unique_ptr<ProfileSource> source) {
  const std::string name(source->name());
  if (name.empty()) return absl::InvalidArgumentError("a profile must have a name");
  if (std::ranges::any_of(name, [](char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); })) {
    return absl::InvalidArgumentError(absl::StrCat("the profile name \"", name, "\" contains white space"));
  }
  std::lock_guard lock(mutex_);
  const auto at = std::ranges::lower_bound(sources_, std::string_view(name), {}, NameOf);
  if (at != sources_.end() && NameOf(*at) == name) {
    return absl::AlreadyExistsError(absl::StrCat("there is a profile named ", name, " already"));
  }
  sources_.insert(at, std::move(source));
  return absl::OkStatus();
}

ProfileSource* ProfileCatalog::Find(std::string_view name) const {
  std::lock_guard lock(mutex_);
  const auto at = std::ranges::lower_bound(sources_, name, {}, NameOf);
  return at != sources_.end() && NameOf(*at) == name ? at->get() : nullptr;
}

std::vector<ProfileSource*> ProfileCatalog::All() const {
  std::lock_guard lock(mutex_);
  std::vector<ProfileSource*> all;
  all.reserve(sources_.size());
  for (const auto& source : sources_) all.push_back(source.get());
  return all;
}

}  // namespace fiberscope::pprof
