// The property first: what a reader decodes with the published format's own classes is the profile that was encoded.
#include "pprof/encode/proto_encoder.h"

#include <algorithm>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "proto/profile.pb.h"
#include "tests/pprof/encode/gunzip.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

template <typename Id>
Id ToId(int64_t number) {
  return static_cast<Id>(number);
}

Profile::ValueType Decode(const perftools::profiles::ValueType& type) {
  return {ToId<Profile::StringId>(type.type()), ToId<Profile::StringId>(type.unit())};
}

// The inverse of the encoder, by way of protobuf's parser.
Profile Decode(const perftools::profiles::Profile& from) {
  Profile to;
  for (const auto& type : from.sample_type()) to.sample_types.push_back(Decode(type));
  to.default_sample_type = ToId<Profile::StringId>(from.default_sample_type());
  for (const auto& sample : from.sample()) {
    Profile::Sample& s = to.samples.emplace_back();
    for (const uint64_t id : sample.location_id()) s.stack.push_back(ToId<Profile::LocationId>(id));
    s.values.assign(sample.value().begin(), sample.value().end());
    for (const auto& label : sample.label()) {
      s.labels.push_back({ToId<Profile::StringId>(label.key()), ToId<Profile::StringId>(label.str()), label.num(),
                          ToId<Profile::StringId>(label.num_unit())});
    }
  }
  for (const auto& mapping : from.mapping()) {
    EXPECT_EQ(mapping.id(), to.mappings.size() + 1);
    to.mappings.push_back({mapping.memory_start(), mapping.memory_limit(), mapping.file_offset(),
                           ToId<Profile::StringId>(mapping.filename()), ToId<Profile::StringId>(mapping.build_id()),
                           mapping.has_functions(), mapping.has_filenames(), mapping.has_line_numbers(),
                           mapping.has_inline_frames()});
  }
  for (const auto& location : from.location()) {
    EXPECT_EQ(location.id(), to.locations.size() + 1);
    Profile::Location& l = to.locations.emplace_back();
    l.mapping = ToId<Profile::MappingId>(location.mapping_id());
    l.address = location.address();
    for (const auto& line : location.line()) {
      l.lines.push_back({ToId<Profile::FunctionId>(line.function_id()), line.line()});
    }
  }
  for (const auto& function : from.function()) {
    EXPECT_EQ(function.id(), to.functions.size() + 1);
    to.functions.push_back({ToId<Profile::StringId>(function.name()), ToId<Profile::StringId>(function.system_name()),
                            ToId<Profile::StringId>(function.filename()), function.start_line()});
  }
  to.strings.assign(from.string_table().begin(), from.string_table().end());
  to.time = Profile().time + std::chrono::nanoseconds(from.time_nanos());
  to.duration = std::chrono::nanoseconds(from.duration_nanos());
  to.period_type = Decode(from.period_type());
  to.period = from.period();
  for (const int64_t comment : from.comment()) to.comments.push_back(ToId<Profile::StringId>(comment));
  return to;
}

std::string Encode(const Profile& profile) {
  StringSink sink;
  EXPECT_TRUE(EncodeProfile(profile, sink).ok());
  return sink.text();
}

perftools::profiles::Profile Parse(const std::string& bytes) {
  perftools::profiles::Profile parsed;
  const std::optional<std::string> content = Gunzip(bytes);
  EXPECT_TRUE(content.has_value());
  EXPECT_TRUE(content.has_value() && parsed.ParseFromString(*content));
  EXPECT_TRUE(parsed.GetReflection()->GetUnknownFields(parsed).empty());
  return parsed;
}

// Well-formed, otherwise arbitrary: every field takes small and extreme values.
class ArbitraryProfile {
 public:
  explicit ArbitraryProfile(uint32_t seed) : random_(seed) {}

  Profile Make() {
    Profile p;
    const size_t strings = 1 + Below(20);
    for (size_t i = 1; i < strings; ++i) p.strings.push_back(std::string(Below(300), 'a') + std::to_string(i));
    const auto text = [&] { return ToId<Profile::StringId>(Below(strings)); };
    for (size_t i = Below(4); i > 0; --i) p.sample_types.push_back({text(), text()});
    p.default_sample_type = text();
    for (size_t i = Below(4); i > 0; --i) {
      p.mappings.push_back({Any(), Any(), Any(), text(), text(), Flip(), Flip(), Flip(), Flip()});
    }
    for (size_t i = Below(5); i > 0; --i) p.functions.push_back({text(), text(), text(), Signed()});
    for (size_t i = Below(50); i > 0; --i) {
      Profile::Location& l = p.locations.emplace_back();
      l.mapping = ToId<Profile::MappingId>(Below(p.mappings.size() + 1));
      l.address = Any();
      for (size_t j = Below(4); j > 0 && !p.functions.empty(); --j) {
        l.lines.push_back({ToId<Profile::FunctionId>(1 + Below(p.functions.size())), Signed()});
      }
    }
    for (size_t i = Below(60); i > 0; --i) {
      Profile::Sample& s = p.samples.emplace_back();
      for (size_t j = Below(130); j > 0 && !p.locations.empty(); --j) {
        s.stack.push_back(ToId<Profile::LocationId>(1 + Below(p.locations.size())));
      }
      for (size_t j = 0; j < p.sample_types.size(); ++j) s.values.push_back(Signed());
      for (size_t j = Below(3); j > 0; --j) s.labels.push_back({text(), text(), Signed(), text()});
    }
    p.time += std::chrono::nanoseconds(Signed());
    p.duration = std::chrono::nanoseconds(Signed());
    p.period_type = {text(), text()};
    p.period = Signed();
    for (size_t i = Below(3); i > 0; --i) p.comments.push_back(text());
    return p;
  }

 private:
  size_t Below(size_t limit) { return random_() % limit; }
  bool Flip() { return Below(2) == 0; }
  uint64_t Any() {
    const uint64_t values[] = {0, 1, 127, 128, random_(), UINT64_MAX};
    return values[Below(std::size(values))];
  }
  int64_t Signed() { return static_cast<int64_t>(Any()); }

  std::mt19937_64 random_;
};

TEST(ProtoEncoder, DecodingGivesTheProfileBack) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const Profile profile = ArbitraryProfile(seed).Make();
    ASSERT_EQ(Decode(Parse(Encode(profile))), profile) << "seed " << seed;
  }
}

TEST(ProtoEncoder, EqualProfilesAreEqualBytes) {
  EXPECT_EQ(Encode(ArbitraryProfile(7).Make()), Encode(ArbitraryProfile(7).Make()));
}

TEST(ProtoEncoder, EmptyProfileHasTheEmptyString) {
  const perftools::profiles::Profile parsed = Parse(Encode(Profile()));
  ASSERT_EQ(parsed.string_table_size(), 1);
  EXPECT_EQ(parsed.string_table(0), "");
  EXPECT_EQ(parsed.sample_size(), 0);
}

Profile ManySamples(int count) {
  Profile p;
  p.strings = {"", "goroutine", "count"};
  p.sample_types = {{Profile::StringId{1}, Profile::StringId{2}}};
  for (int i = 0; i < count; ++i) p.locations.push_back({{}, static_cast<uint64_t>(i) * 2'654'435'761u, {}});
  for (int i = 0; i < count; ++i) {
    Profile::Sample& s = p.samples.emplace_back();
    for (int depth = 1; depth <= 10; ++depth)
      s.stack.push_back(ToId<Profile::LocationId>(1 + (i * 31 + depth) % count));
    s.values = {1};
  }
  return p;
}

TEST(ProtoEncoder, LargeProfilesLeaveInBoundedPieces) {
  const Profile profile = ManySamples(100'000);
  MeasuringSink sink;
  ASSERT_TRUE(EncodeProfile(profile, sink).ok());
  EXPECT_LE(sink.largest(), 32u * 1024);
  EXPECT_GT(sink.writes(), 10);
  EXPECT_EQ(Decode(Parse(sink.text())), profile);
}

TEST(ProtoEncoder, StopsAtTheFirstErrorAndReturnsIt) {
  for (const size_t limit : {0, 100, 100'000}) {
    LeavingSink sink(limit);
    EXPECT_EQ(EncodeProfile(ManySamples(50'000), sink).code(), absl::StatusCode::kCancelled) << limit;
    EXPECT_EQ(sink.refusals(), 1) << limit;
  }
}

}  // namespace
}  // namespace fiberscope::pprof
