#include "pprof/encode/proto_encoder.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstdint>
#include <span>
#include <string>

#include "pprof/encode/gzip.h"
#include "proto/profile.pb.h"

namespace fiberscope::pprof {
namespace {

namespace proto = ::perftools::profiles;
using ::google::protobuf::io::CodedOutputStream;

// Lets protobuf's streams write to a ByteSink, and remembers why the first write failed.
class SinkStream : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit SinkStream(ByteSink& sink) : sink_(sink) {}

  bool Write(const void* buffer, int size) override {
    status_ = sink_.Write({static_cast<const char*>(buffer), static_cast<size_t>(size)});
    return status_.ok();
  }

  const absl::Status& status() const { return status_; }

 private:
  ByteSink& sink_;
  absl::Status status_;
};

template <typename Id>
auto Number(Id id) {
  return static_cast<uint32_t>(id);
}

void Fill(const Profile::ValueType& from, proto::ValueType& to) {
  to.set_type(Number(from.type));
  to.set_unit(Number(from.unit));
}

void Fill(const Profile::Sample& from, proto::Sample& to) {
  for (const Profile::LocationId id : from.stack) to.add_location_id(Number(id));
  for (const int64_t value : from.values) to.add_value(value);
  for (const Profile::Label& label : from.labels) {
    proto::Label& out = *to.add_label();
    out.set_key(Number(label.key));
    out.set_str(Number(label.text));
    out.set_num(label.number);
    out.set_num_unit(Number(label.unit));
  }
}

void Fill(const Profile::Mapping& from, proto::Mapping& to) {
  to.set_memory_start(from.start);
  to.set_memory_limit(from.limit);
  to.set_file_offset(from.offset);
  to.set_filename(Number(from.file));
  to.set_build_id(Number(from.build_id));
  to.set_has_functions(from.has_functions);
  to.set_has_filenames(from.has_filenames);
  to.set_has_line_numbers(from.has_line_numbers);
  to.set_has_inline_frames(from.has_inline_frames);
}

void Fill(const Profile::Location& from, proto::Location& to) {
  to.set_mapping_id(Number(from.mapping));
  to.set_address(from.address);
  for (const Profile::Line& line : from.lines) {
    proto::Line& out = *to.add_line();
    out.set_function_id(Number(line.function));
    out.set_line(line.line);
  }
}

void Fill(const Profile::Function& from, proto::Function& to) {
  to.set_name(Number(from.name));
  to.set_system_name(Number(from.system_name));
  to.set_filename(Number(from.file));
  to.set_start_line(from.start_line);
}

// Writes the fields of one Profile message, part by part: a message within it is a tag, a length and its own bytes.
class ProfileWriter {
 public:
  ProfileWriter(const Profile& profile, CodedOutputStream& out) : profile_(profile), out_(out) {}

  // The order is free; Go writes the string table last, and so do we.
  void Write() {
    using Field = proto::Profile;
    WriteParts<proto::ValueType>(Field::kSampleTypeFieldNumber, profile_.sample_types);
    WriteParts<proto::ValueType>(Field::kPeriodTypeFieldNumber, std::span(&profile_.period_type, 1));
    WriteNumber(Field::kPeriodFieldNumber, profile_.period);
    WriteNumber(Field::kDefaultSampleTypeFieldNumber, Number(profile_.default_sample_type));
    WriteNumber(Field::kTimeNanosFieldNumber, profile_.time.time_since_epoch().count());
    WriteNumber(Field::kDurationNanosFieldNumber, profile_.duration.count());
    for (const Profile::StringId comment : profile_.comments) WriteNumber(Field::kCommentFieldNumber, Number(comment));
    WriteParts<proto::Sample>(Field::kSampleFieldNumber, profile_.samples);
    WriteParts<proto::Mapping>(Field::kMappingFieldNumber, profile_.mappings);
    WriteParts<proto::Location>(Field::kLocationFieldNumber, profile_.locations);
    WriteParts<proto::Function>(Field::kFunctionFieldNumber, profile_.functions);
    WriteStrings(Field::kStringTableFieldNumber);
  }

 private:
  // Wire types of the protobuf encoding.
  static constexpr uint32_t kVarint = 0;
  static constexpr uint32_t kLengthDelimited = 2;

  void WriteTag(int field, uint32_t wire_type) { out_.WriteTag(static_cast<uint32_t>(field) << 3 | wire_type); }

  void WriteNumber(int field, int64_t value) {
    WriteTag(field, kVarint);
    out_.WriteVarint64(static_cast<uint64_t>(value));
  }

  // Elements of the repeated message `field`. Where messages have ids, element i has the id i + 1 (profile.h).
  template <typename Message, typename Parts>
  void WriteParts(int field, const Parts& parts) {
    Message message;  // cleared and filled again: keeps its memory
    uint64_t id = 0;
    for (const auto& part : parts) {
      if (out_.HadError()) return;
      ++id;
      message.Clear();
      if constexpr (requires { message.set_id(id); }) message.set_id(id);
      Fill(part, message);
      WriteTag(field, kLengthDelimited);
      out_.WriteVarint64(message.ByteSizeLong());
      message.SerializeWithCachedSizes(&out_);
    }
  }

  void WriteStrings(int field) {
    for (const std::string& text : profile_.strings) {
      if (out_.HadError()) return;
      WriteTag(field, kLengthDelimited);
      out_.WriteVarint64(text.size());
      out_.WriteRaw(text.data(), static_cast<int>(text.size()));
    }
  }

  const Profile& profile_;
  CodedOutputStream& out_;
};

absl::Status WriteProto(const Profile& profile, ByteSink& sink) {
  SinkStream stream(sink);
  google::protobuf::io::CopyingOutputStreamAdaptor adaptor(&stream);  // 8 KiB at a time
  {
    CodedOutputStream out(&adaptor);
    ProfileWriter(profile, out).Write();
  }
  adaptor.Flush();
  return stream.status();
}

}  // namespace

absl::Status EncodeProfile(const Profile& profile, ByteSink& sink) {
  GzipSink gzip(sink);
  if (absl::Status status = WriteProto(profile, gzip); !status.ok()) return status;
  return gzip.Finish();
}

}  // namespace fiberscope::pprof
