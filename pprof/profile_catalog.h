// The profiles a process offers, by name. Filled by main() or DebugServer, never by static initialisers.
#ifndef FIBERSCOPE_PPROF_PROFILE_CATALOG_H_
#define FIBERSCOPE_PPROF_PROFILE_CATALOG_H_

#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "pprof/profile_source.h"

namespace fiberscope::pprof {

// Thread-safe. Owns its sources; they live as long as the catalog. Never blocks for long (one mutex, short sections).
class ProfileCatalog {
 public:
  ProfileCatalog() = default;
  // What it does not have itself, it finds in `more`, as that is at the time. `more` must outlive it; null: nothing more.
  explicit ProfileCatalog(const ProfileCatalog* more) : more_(more) {}
  ProfileCatalog(const ProfileCatalog&) = delete;
  ProfileCatalog& operator=(const ProfileCatalog&) = delete;

  // kAlreadyExists when the name is taken here; one of `more` is hidden. kInvalidArgument when it is empty, contains white space,
  // or is no path that a server can be asked for: a segment between slashes is empty, "." or "..".
  absl::Status Add(std::unique_ptr<ProfileSource> source);

  // Case-sensitive. Null when there is none of that name.
  ProfileSource* Find(std::string_view name) const;

  // Sorted by name, bytewise.
  std::vector<ProfileSource*> All() const;

 private:
  const ProfileCatalog* const more_ = nullptr;
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<ProfileSource>> sources_;  // GUARDED_BY(mutex_), sorted by name
};

// What code anywhere in the process has made (custom_profile.h), whoever shows it: DebugServer does. Made at first use, never
// destroyed. Thread-safe.
ProfileCatalog& ProcessProfiles();

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_PROFILE_CATALOG_H_
