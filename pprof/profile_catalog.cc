#include "pprof/profile_catalog.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fiberscope::pprof {
namespace {

std::string_view NameOf(const std::unique_ptr<ProfileSource>& source) { return source->name(); }

std::string_view NameOfSource(const ProfileSource* source) { return source->name(); }

// A server cleans the paths it is asked for, so that others never arrive.
bool IsCleanPath(std::string_view path) {
  const size_t slash = path.find('/');
  const std::string_view segment = path.substr(0, slash);
  if (segment.empty() || segment == "." || segment == "..") return false;
  return slash == std::string_view::npos || IsCleanPath(path.substr(slash + 1));
}

}  // namespace

absl::Status ProfileCatalog::Add(std::unique_ptr<ProfileSource> source) {
  const std::string name(source->name());
  if (name.empty()) return absl::InvalidArgumentError("a profile must have a name");
  if (std::ranges::any_of(name, [](char c) { return absl::ascii_isspace(static_cast<unsigned char>(c)); })) {
    return absl::InvalidArgumentError(absl::StrCat("the profile name \"", name, "\" contains white space"));
  }
  if (!IsCleanPath(name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the profile name \"", name, "\" has a segment that is empty, . or ..: no URL leads there"));
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
  {
    std::lock_guard lock(mutex_);
    const auto at = std::ranges::lower_bound(sources_, name, {}, NameOf);
    if (at != sources_.end() && NameOf(*at) == name) return at->get();
  }
  return more_ != nullptr ? more_->Find(name) : nullptr;
}

std::vector<ProfileSource*> ProfileCatalog::All() const {
  std::vector<ProfileSource*> own;
  {
    std::lock_guard lock(mutex_);
    own.reserve(sources_.size());
    for (const auto& source : sources_) own.push_back(source.get());
  }
  if (more_ == nullptr) return own;
  std::vector<ProfileSource*> all;  // of equal names the own one
  std::ranges::set_union(own, more_->All(), std::back_inserter(all), {}, NameOfSource, NameOfSource);
  return all;
}

ProfileCatalog& ProcessProfiles() {
  static ProfileCatalog& profiles = *new ProfileCatalog;
  return profiles;
}

}  // namespace fiberscope::pprof
