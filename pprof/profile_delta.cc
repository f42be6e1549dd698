#include "pprof/profile_delta.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "runtime/base/check.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kNegative =
    "Negative values: less at the end of the interval than at its beginning (of what is in use, what was given back).";

template <typename T>
void AppendBytes(std::string& key, T value) {
  key.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendText(std::string& key, const std::string& text) {
  AppendBytes(key, text.size());
  key += text;
}

// Equal for samples of equal addresses and labels, in whatever profile. Starts with the number of addresses, so that no key is the
// beginning of another one.
std::string KeyOf(const Profile& profile, const Profile::Sample& sample) {
  std::string key;
  AppendBytes(key, sample.stack.size());
  for (const Profile::LocationId id : sample.stack) AppendBytes(key, profile.Get(id).address);
  for (const Profile::Label& label : sample.labels) {
    AppendText(key, profile.Text(label.key));
    AppendText(key, profile.Text(label.text));
    AppendBytes(key, label.number);
    AppendText(key, profile.Text(label.unit));
  }
  return key;
}

// Copies parts of profiles into a new one, each once.
class Copier {
 public:
  // With all mappings of `like`, so that their order is kept.
  explicit Copier(const Profile& like) {
    for (const Profile::ValueType& type : like.sample_types) result_.sample_types.push_back(Copy(like, type));
    result_.default_sample_type = Copy(like, like.default_sample_type);
    result_.period_type = Copy(like, like.period_type);
    result_.period = like.period;
    for (size_t i = 0; i < like.mappings.size(); ++i) Copy(like, static_cast<Profile::MappingId>(i + 1));
    for (const Profile::StringId comment : like.comments) result_.comments.push_back(Copy(like, comment));
  }

  void AddSample(const Profile& from, const Profile::Sample& sample, std::vector<int64_t> values) {
    Profile::Sample& added = result_.samples.emplace_back();
    added.stack.reserve(sample.stack.size());
    for (const Profile::LocationId id : sample.stack) added.stack.push_back(Copy(from, id));
    added.values = std::move(values);
    for (const Profile::Label& label : sample.labels) {
      added.labels.push_back({Copy(from, label.key), Copy(from, label.text), label.number, Copy(from, label.unit)});
    }
  }

  void AddComment(std::string_view comment) { result_.comments.push_back(Intern(comment)); }

  Profile& result() { return result_; }

 private:
  Profile::StringId Intern(std::string_view text) {
    if (text.empty()) return Profile::StringId::kEmpty;
    const absl::string_view key(text.data(), text.size());
    const auto [at, added] = strings_.try_emplace(key, static_cast<Profile::StringId>(result_.strings.size()));
    if (added) result_.strings.emplace_back(text);
    return at->second;
  }

  Profile::StringId Copy(const Profile& from, Profile::StringId id) { return Intern(from.Text(id)); }

  Profile::ValueType Copy(const Profile& from, const Profile::ValueType& type) {
    const Profile::StringId name = Copy(from, type.type);
    return {name, Copy(from, type.unit)};
  }

  Profile::MappingId Copy(const Profile& from, Profile::MappingId id) {
    if (id == Profile::MappingId::kNone) return id;
    Profile::Mapping mapping = from.Get(id);
    mapping.file = Copy(from, mapping.file);
    mapping.build_id = Copy(from, mapping.build_id);
    const auto [at, added] = mappings_.try_emplace({mapping.start, mapping.limit, mapping.file, mapping.build_id});
    if (added) {
      result_.mappings.push_back(mapping);
      at->second = static_cast<Profile::MappingId>(result_.mappings.size());
    }
    return at->second;
  }

  Profile::FunctionId Copy(const Profile& from, Profile::FunctionId id) {
    Profile::Function function = from.Get(id);
    function.name = Copy(from, function.name);
    function.system_name = Copy(from, function.system_name);
    function.file = Copy(from, function.file);
    const auto [at, added] =
        functions_.try_emplace({function.name, function.system_name, function.file, function.start_line});
    if (added) {
      result_.functions.push_back(function);
      at->second = static_cast<Profile::FunctionId>(result_.functions.size());
    }
    return at->second;
  }

  // The first one of an address counts.
  Profile::LocationId Copy(const Profile& from, Profile::LocationId id) {
    Profile::Location location = from.Get(id);
    if (const auto known = locations_.find(location.address); known != locations_.end()) return known->second;
    location.mapping = Copy(from, location.mapping);
    for (Profile::Line& line : location.lines) line.function = Copy(from, line.function);
    result_.locations.push_back(std::move(location));
    const auto copied = static_cast<Profile::LocationId>(result_.locations.size());
    locations_.emplace(result_.locations.back().address, copied);
    return copied;
  }

  Profile result_;
  absl::flat_hash_map<std::string, Profile::StringId> strings_;
  absl::flat_hash_map<std::tuple<uint64_t, uint64_t, Profile::StringId, Profile::StringId>, Profile::MappingId> mappings_;
  absl::flat_hash_map<std::tuple<Profile::StringId, Profile::StringId, Profile::StringId, int64_t>, Profile::FunctionId>
      functions_;
  absl::flat_hash_map<uint64_t, Profile::LocationId> locations_;  // by address
};

struct Difference {
  const Profile* profile;
  const Profile::Sample* sample;
  std::vector<int64_t> values;
};

}  // namespace

Profile ProfileDelta(const Profile& before, const Profile& after) {
  FIBERSCOPE_CHECK(before.sample_types.size() == after.sample_types.size(), "a delta of profiles of %d and %d sample types",
                   before.sample_types.size(), after.sample_types.size());
  std::vector<Difference> differences;  // in the order of `after`
  absl::flat_hash_map<std::string, size_t> index;
  const auto add = [&](const Profile& profile, int64_t sign) {
    for (const Profile::Sample& sample : profile.samples) {
      const auto [at, added] = index.try_emplace(KeyOf(profile, sample), differences.size());
      if (added) differences.push_back({&profile, &sample, std::vector<int64_t>(sample.values.size())});
      std::vector<int64_t>& values = differences[at->second].values;
      for (size_t i = 0; i < values.size(); ++i) values[i] += sign * sample.values[i];
    }
  };
  add(after, 1);
  add(before, -1);

  Copier copier(after);
  bool is_negative = false;
  for (Difference& difference : differences) {
    if (std::ranges::all_of(difference.values, [](int64_t value) { return value == 0; })) continue;
    is_negative = is_negative || std::ranges::any_of(difference.values, [](int64_t value) { return value < 0; });
    copier.AddSample(*difference.profile, *difference.sample, std::move(difference.values));
  }
  if (is_negative) copier.AddComment(kNegative);
  Profile result = std::move(copier.result());
  result.time = after.time;
  result.duration = after.time - before.time;
  return result;
}

}  // namespace fiberscope::pprof
