// Makes a Profile from raw stacks: symbolizes, interns strings, hands out ids. The only place that does.
#ifndef FIBERSCOPE_PPROF_PROFILE_BUILDER_H_
#define FIBERSCOPE_PPROF_PROFILE_BUILDER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "pprof/mappings.h"
#include "pprof/profile.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// A label of a sample: text, or a number if `text` is empty. Profiles cannot express an empty text: readers see 0.
struct SampleLabel {
  std::string_view key;
  std::string_view text = {};
  int64_t number = 0;
  std::string_view unit = {};
};

// Strings may be any bytes: those that are not UTF-8 are spelled \xNN, because the format demands UTF-8.
//
// Names: Function.name is the full demangled name, system_name the mangled one. pprof demangles again (and strips)
// every function whose two names are equal. For a C function they are equal, rightly, and its demangler leaves a plain
// identifier alone; an equal pair that is not one (a compiler-made name, or DWARF without linkage names) gets an empty
// system_name, which readers take as "already demangled".
//
// Mappings: a location inside none keeps mapping 0. Without any mapping at all, one of no extent and no name owns
// everything, as in Go. has_functions is set, which keeps `go tool pprof` from symbolizing again and from complaining
// that it cannot, unless none of the mapping's addresses has a name and it has a build id: then pprof may find a copy with names
// ($PPROF_BINARY_PATH). has_filenames, has_line_numbers and has_inline_frames where lines were found in at least one place.
//
// Comments of its own, which pprof prints at the head of its reports: lines are still pending; or the first mapping, the
// program's, has locations but neither files nor lines, or (besides) not all their names.
//
// Thread-compatible. AddSample() blocks the thread while the symbolizer works. Cost: ~1 us per sample ten deep once its
// addresses are known.
class ProfileBuilder {
 public:
  // `symbolizer` must outlive the builder. `mappings` in the order wanted: tools call the first one the main binary.
  ProfileBuilder(Symbolizer& symbolizer, std::span<const Mapping> mappings);

  // All of them before the first sample.
  void AddSampleType(std::string_view type, std::string_view unit);

  void SetDefaultSampleType(std::string_view type);
  void SetPeriod(std::string_view type, std::string_view unit, int64_t period);
  void SetTime(std::chrono::sys_time<std::chrono::nanoseconds> time);
  void SetDuration(std::chrono::nanoseconds duration);
  void AddComment(std::string_view comment);

  // `stack`: return addresses, innermost first; for an address that was not returned to (the pc of an interrupted
  // frame, the entry of a function) pass one more than it. Already without root machinery (machinery.h). `values`: one per
  // sample type.
  void AddSample(std::span<const uintptr_t> stack, std::span<const int64_t> values,
                 std::span<const SampleLabel> labels = {});

  // Ends the builder.
  Profile Build() &&;

 private:
  struct MappedRange {
    uint64_t start;
    uint64_t limit;
    Profile::MappingId id;
  };
  using FunctionKey = std::tuple<Profile::StringId, Profile::StringId, Profile::StringId, int64_t>;

  Profile::StringId Intern(std::string_view text);
  Profile::ValueType InternType(std::string_view type, std::string_view unit);
  Profile::FunctionId InternFunction(const Frame& frame);
  Profile::LocationId InternLocation(uint64_t address);
  Profile::Location MakeLocation(uint64_t address);
  Profile::MappingId FindMapping(uint64_t address) const;
  void SayWhatIsMissing();

  Symbolizer& symbolizer_;
  Profile profile_;                  // strings are added at the end
  std::vector<MappedRange> ranges_;  // sorted by start
  bool lines_pending_ = false;       // of any address
  bool lines_absent_ = false;        // of an address in the first mapping; the next as well
  bool name_absent_ = false;
  std::deque<std::string> strings_;  // stable addresses, for the keys below
  absl::flat_hash_map<absl::string_view, Profile::StringId> string_ids_;
  absl::flat_hash_map<FunctionKey, Profile::FunctionId> function_ids_;
  absl::flat_hash_map<uint64_t, Profile::LocationId> location_ids_;  // by address
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_PROFILE_BUILDER_H_
