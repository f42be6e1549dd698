#include "pprof/profile_builder.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>

#include "pprof/machinery.h"
#include "pprof/utf8.h"
#include "runtime/base/check.h"

namespace fiberscope::pprof {
namespace {

// The id of the newest element of a table whose ids are position + 1.
template <typename Id, typename Table>
Id NewestId(const Table& table) {
  return static_cast<Id>(table.size());
}

bool IsPlainIdentifier(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '$' || c == '@';
  });
}

std::string_view SystemName(const Frame& frame) {
  if (frame.system_name == frame.function && !IsPlainIdentifier(frame.function)) return {};
  return frame.system_name;
}

}  // namespace

ProfileBuilder::ProfileBuilder(Symbolizer& symbolizer, std::span<const Mapping> mappings) : symbolizer_(symbolizer) {
  Intern("");  // string 0
  for (const Mapping& mapping : mappings) {
    Profile::Mapping& added = profile_.mappings.emplace_back();
    added.start = mapping.start;
    added.limit = mapping.limit;
    added.offset = mapping.offset;
    added.file = Intern(mapping.file);
    added.build_id = Intern(mapping.build_id);
    added.has_functions = true;
    ranges_.push_back({mapping.start, mapping.limit, NewestId<Profile::MappingId>(profile_.mappings)});
  }
  std::ranges::sort(ranges_, {}, &MappedRange::start);
  if (mappings.empty()) {
    profile_.mappings.emplace_back().has_functions = true;
    ranges_.push_back({0, UINT64_MAX, NewestId<Profile::MappingId>(profile_.mappings)});
  }
}

void ProfileBuilder::AddSampleType(std::string_view type, std::string_view unit) {
  FIBERSCOPE_CHECK(profile_.samples.empty(), "sample type added after a sample");
  profile_.sample_types.push_back(InternType(type, unit));
}

void ProfileBuilder::SetDefaultSampleType(std::string_view type) { profile_.default_sample_type = Intern(type); }

void ProfileBuilder::SetPeriod(std::string_view type, std::string_view unit, int64_t period) {
  profile_.period_type = InternType(type, unit);
  profile_.period = period;
}

void ProfileBuilder::SetTime(std::chrono::sys_time<std::chrono::nanoseconds> time) { profile_.time = time; }

void ProfileBuilder::SetDuration(std::chrono::nanoseconds duration) { profile_.duration = duration; }

void ProfileBuilder::AddComment(std::string_view comment) { profile_.comments.push_back(Intern(comment)); }

void ProfileBuilder::AddSample(std::span<const uintptr_t> stack, std::span<const int64_t> values,
                               std::span<const SampleLabel> labels) {
  FIBERSCOPE_CHECK(values.size() == profile_.sample_types.size(), "%d values for %d sample types", values.size(),
                   profile_.sample_types.size());
  Profile::Sample sample;
  sample.stack.reserve(stack.size());
  for (const uintptr_t return_address : stack) sample.stack.push_back(InternLocation(return_address - 1));
  sample.values.assign(values.begin(), values.end());
  sample.labels.reserve(labels.size());
  for (const SampleLabel& label : labels) {
    if (label.text.empty()) {
      sample.labels.push_back({Intern(label.key), {}, label.number, Intern(label.unit)});
    } else {
      sample.labels.push_back({Intern(label.key), Intern(label.text), 0, {}});
    }
  }
  profile_.samples.push_back(std::move(sample));
}

Profile ProfileBuilder::Build() && {
  SayWhatIsMissing();
  profile_.strings.assign(std::make_move_iterator(strings_.begin()), std::make_move_iterator(strings_.end()));
  return std::move(profile_);
}

Profile::StringId ProfileBuilder::Intern(std::string_view text) {
  std::string valid = ToValidUtf8(text);
  const auto known = string_ids_.find(valid);
  if (known != string_ids_.end()) return known->second;
  const auto id = static_cast<Profile::StringId>(strings_.size());
  string_ids_.emplace(strings_.emplace_back(std::move(valid)), id);
  return id;
}

Profile::ValueType ProfileBuilder::InternType(std::string_view type, std::string_view unit) {
  const Profile::StringId type_id = Intern(type);
  return {type_id, Intern(unit)};
}

Profile::FunctionId ProfileBuilder::InternFunction(const Frame& frame) {
  const Profile::StringId name = Intern(frame.function);
  const Profile::StringId system_name = Intern(SystemName(frame));
  const Profile::StringId file = Intern(frame.file);
  auto [at, added] = function_ids_.try_emplace({name, system_name, file, frame.start_line});
  if (added) {
    profile_.functions.push_back({name, system_name, file, frame.start_line});
    at->second = NewestId<Profile::FunctionId>(profile_.functions);
  }
  return at->second;
}

Profile::LocationId ProfileBuilder::InternLocation(uint64_t address) {
  auto [at, added] = location_ids_.try_emplace(address);
  if (added) {
    profile_.locations.push_back(MakeLocation(address));
    at->second = NewestId<Profile::LocationId>(profile_.locations);
  }
  return at->second;
}

Profile::Location ProfileBuilder::MakeLocation(uint64_t address) {
  Profile::Location location;
  location.mapping = FindMapping(address);
  location.address = address;
  bool has_lines = false;
  const Symbolized& symbolized = symbolizer_.Lookup(address);
  lines_pending_ |= symbolized.lines == LineState::kPending;
  if (location.mapping == Profile::MappingId{1} && symbolized.lines == LineState::kAbsent) {
    lines_absent_ = true;
    name_absent_ |= symbolized.frames.empty();
  }
  for (const Frame& frame : UserFrames(symbolized.frames)) {
    location.lines.push_back({InternFunction(frame), frame.line});
    has_lines = has_lines || (!frame.file.empty() && frame.line != 0);
  }
  if (has_lines && location.mapping != Profile::MappingId::kNone) {
    Profile::Mapping& mapping = profile_.mappings[static_cast<size_t>(location.mapping) - 1];
    mapping.has_filenames = mapping.has_line_numbers = mapping.has_inline_frames = true;
  }
  return location;
}

void ProfileBuilder::SayWhatIsMissing() {
  std::vector<bool> has_location(profile_.mappings.size() + 1);
  std::vector<bool> has_name(profile_.mappings.size() + 1);
  for (const Profile::Location& location : profile_.locations) {
    has_location[static_cast<size_t>(location.mapping)] = true;
    if (!location.lines.empty()) has_name[static_cast<size_t>(location.mapping)] = true;
  }
  for (size_t id = 1; id <= profile_.mappings.size(); ++id) {
    Profile::Mapping& mapping = profile_.mappings[id - 1];
    const bool has_build_id = mapping.build_id != Profile::StringId::kEmpty;
    mapping.has_functions = has_name[id] || !has_location[id] || !has_build_id;
  }

  if (lines_pending_) AddComment(kLinesPending);
  if (!lines_absent_ || profile_.mappings.front().has_line_numbers) return;
  AddComment("No files and lines: the program has no debug information (-g1 is enough).");
  if (name_absent_) AddComment("Functions without names: the program has been stripped.");
}

Profile::MappingId ProfileBuilder::FindMapping(uint64_t address) const {
  const auto after = std::ranges::upper_bound(ranges_, address, {}, &MappedRange::start);
  if (after == ranges_.begin()) return Profile::MappingId::kNone;
  const MappedRange& range = *std::prev(after);
  return address < range.limit ? range.id : Profile::MappingId::kNone;
}

}  // namespace fiberscope::pprof
