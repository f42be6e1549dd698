// Profiles of one's own: what is open, held or in flight at the moment, by the stack that made it. Go: runtime/pprof.NewProfile.
//
//   CustomProfile& OpenFiles() {
//     static CustomProfile& profile = **NewProfile("example.com/store.open_files");
//     return profile;
//   }
//   File::File()  { OpenFiles().Add(this).IgnoreError(); }
//   File::~File() { OpenFiles().Remove(this); }
//
// and then /debug/pprof/example.com/store.open_files, or WriteProfile() (write_profile.h) without any server.
#ifndef FIBERSCOPE_PPROF_CUSTOM_PROFILE_H_
#define FIBERSCOPE_PPROF_CUSTOM_PROFILE_H_

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/byte_sink.h"
#include "pprof/mappings.h"
#include "pprof/profile.h"
#include "pprof/profile_source.h"
#include "pprof/stack_groups.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// Which thing: a pointer or a number (a descriptor, an id), whatever is unique among what the profile has at one time. Only its
// value counts, nothing is read through it.
class ProfileKey {
 public:
  ProfileKey(const volatile void* pointer) : value_(reinterpret_cast<uintptr_t>(pointer)) {}  // NOLINT: implicit by design
  template <std::integral T>
  ProfileKey(T number) : value_(static_cast<uint64_t>(number)) {}  // NOLINT: implicit by design

  uint64_t value() const { return value_; }

 private:
  uint64_t value_;
};

struct CustomProfileInputs {
  std::function<std::vector<Mapping>()> mappings;
  std::function<std::chrono::sys_time<std::chrono::nanoseconds>()> now;
};

// A count profile: one sample per distinct stack, with the number of things that were added there and have not been removed.
//
// Thread-safe; for fibers and for plain threads alike. Add() and Remove() hold a mutex for ~0.1 us. Not async-signal-safe.
// Memory: ~20 bytes per thing, and 8 per frame of each distinct stack; a stack goes with the last of its things.
class CustomProfile : public ProfileSource {
 public:
  static constexpr size_t kMaxFrames = 128;  // of a stack; outer ones are left out, as in Go

  // For a catalog of one's own; otherwise NewProfile() below. `symbolizer` must outlive the profile.
  CustomProfile(std::string name, Symbolizer& symbolizer, CustomProfileInputs inputs);

  // Records the caller's stack for `key`, `skip` frames further out than the caller itself. Of a stack that has no more than that,
  // and of a caller on a stack that belongs to neither a fiber nor a thread (own_stack.h), only the number is known. Skipped
  // frames count among the 128.
  // kAlreadyExists, and nothing changes, when the profile has `key` (Go panics).
  // Cost: 0.4 us and 25 ns per frame. The first call in a process makes an unwind table (unwind_table.h).
  absl::Status Add(ProfileKey key, size_t skip = 0);

  // Nothing happens when the profile does not have `key`.
  void Remove(ProfileKey key);

  std::string_view name() const override { return name_; }
  std::string_view description() const override { return ""; }  // as Go's
  int64_t Count() const override;                               // of things
  absl::StatusOr<Profile> Collect() override;
  absl::Status WriteText(int debug, ByteSink& sink) override;

 private:
  using Stacks = absl::node_hash_map<std::vector<uintptr_t>, int64_t>;  // a stack and how many things have it

  std::vector<StackGroup> Group() const;

  const std::string name_;
  Symbolizer& symbolizer_;
  const CustomProfileInputs inputs_;
  mutable std::mutex mutex_;
  Stacks stacks_;                                              // GUARDED_BY(mutex_)
  absl::flat_hash_map<uint64_t, Stacks::value_type*> things_;  // GUARDED_BY(mutex_); an element of stacks_ by key
};

// Makes a profile that ProcessProfiles() (profile_catalog.h) has from then on, and every DebugServer with the built-in profiles.
// It lives as long as the process. By convention the name begins with that of the library: "example.com/store.open_files".
// kInvalidArgument: the name is none (ProfileCatalog::Add). kAlreadyExists: there is such a profile, or a built-in one or an
// endpoint of the debug server has that name. Thread-safe.
absl::StatusOr<CustomProfile*> NewProfile(std::string_view name);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_CUSTOM_PROFILE_H_
