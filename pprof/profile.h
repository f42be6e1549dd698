// The model of a profile: what was sampled, where, and how much. A value; no I/O, no symbolizing, no bytes.
//
// Strings and the parts of a stack are stored once and referred to by id. Only ProfileBuilder hands out ids, densely
// and in order of first use: element i of `locations`, `functions` and `mappings` has the id i + 1, so that 0 can mean
// "none"; element i of `strings` has the id i, and string 0 is empty. All strings are valid UTF-8.
//
// The wire format (proto/profile.proto) is the same thing with the ids written out; encode/proto_encoder.h writes it.
#ifndef FIBERSCOPE_PPROF_PROFILE_H_
#define FIBERSCOPE_PPROF_PROFILE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fiberscope::pprof {

// Thread-compatible; copies and compares by value.
struct Profile {
  enum class StringId : uint32_t { kEmpty = 0 };
  enum class MappingId : uint32_t { kNone = 0 };
  enum class FunctionId : uint32_t { kNone = 0 };
  enum class LocationId : uint32_t { kNone = 0 };

  // "cpu" in "nanoseconds".
  struct ValueType {
    StringId type{};
    StringId unit{};
    bool operator==(const ValueType&) const = default;
  };

  // Text or a number, never both.
  struct Label {
    StringId key{};
    StringId text{};
    int64_t number = 0;
    StringId unit{};  // of the number; may be empty
    bool operator==(const Label&) const = default;
  };

  struct Sample {
    std::vector<LocationId> stack;  // innermost first
    std::vector<int64_t> values;    // one per sample type
    std::vector<Label> labels;
    bool operator==(const Sample&) const = default;
  };

  struct Mapping {
    uint64_t start = 0;
    uint64_t limit = 0;
    uint64_t offset = 0;
    StringId file{};
    StringId build_id{};
    // What is known of the locations inside; a reader symbolizes again what is not.
    bool has_functions = false;
    bool has_filenames = false;
    bool has_line_numbers = false;
    bool has_inline_frames = false;
    bool operator==(const Mapping&) const = default;
  };

  struct Line {
    FunctionId function{};
    int64_t line = 0;
    bool operator==(const Line&) const = default;
  };

  struct Location {
    MappingId mapping{};
    uint64_t address = 0;     // inside the call instruction
    std::vector<Line> lines;  // innermost inlined call first, the physical function last; empty when unknown
    bool operator==(const Location&) const = default;
  };

  struct Function {
    StringId name{};         // demangled, in full
    StringId system_name{};  // mangled; empty when unknown
    StringId file{};
    int64_t start_line = 0;  // 0 when unknown
    bool operator==(const Function&) const = default;
  };

  std::vector<ValueType> sample_types;
  StringId default_sample_type{};  // the `type` of one of sample_types; empty: the last
  std::vector<Sample> samples;
  std::vector<Mapping> mappings;
  std::vector<Location> locations;
  std::vector<Function> functions;
  std::vector<std::string> strings = {""};
  std::chrono::sys_time<std::chrono::nanoseconds> time{};  // when; see time_nanos in profile.proto
  std::chrono::nanoseconds duration{0};                    // 0 for a snapshot
  ValueType period_type;
  int64_t period = 0;
  std::vector<StringId> comments;

  const std::string& Text(StringId id) const { return strings[static_cast<size_t>(id)]; }
  const Mapping& Get(MappingId id) const { return mappings[static_cast<size_t>(id) - 1]; }
  const Location& Get(LocationId id) const { return locations[static_cast<size_t>(id) - 1]; }
  const Function& Get(FunctionId id) const { return functions[static_cast<size_t>(id) - 1]; }

  bool operator==(const Profile&) const = default;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_PROFILE_H_
