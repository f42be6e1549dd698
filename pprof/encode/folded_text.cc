#include "pprof/encode/folded_text.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pprof/encode/aligned_frames.h"
#include "pprof/machinery.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {
namespace {

constexpr size_t kPieceBytes = 32 << 10;

struct FoldedFrame {
  std::string name;
  bool machinery = false;
};

std::string WithoutSeparators(std::string name) {
  for (char& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7f || c == ';') c = '_';
  }
  return name;
}

FoldedFrame FoldFunction(const Profile& profile, const Profile::Function& function) {
  const Frame frame{.function = profile.Text(function.name),
                    .system_name = profile.Text(function.system_name),
                    .file = profile.Text(function.file)};
  return {WithoutSeparators(ShortFunctionName(frame.function)), IsMachinery(frame)};
}

// By location, innermost first.
std::vector<std::vector<FoldedFrame>> FoldLocations(const Profile& profile) {
  std::vector<FoldedFrame> functions;
  for (const Profile::Function& function : profile.functions) functions.push_back(FoldFunction(profile, function));
  std::vector<std::vector<FoldedFrame>> locations;
  for (const Profile::Location& location : profile.locations) {
    std::vector<FoldedFrame>& frames = locations.emplace_back();
    for (const Profile::Line& line : location.lines) {
      const FoldedFrame& frame = functions[static_cast<size_t>(line.function) - 1];
      frames.push_back(frame.name.empty() ? FoldedFrame{HexAddress(location.address)} : frame);
    }
    if (frames.empty()) frames.push_back({HexAddress(location.address)});
  }
  return locations;
}

std::string FoldStack(const Profile::Sample& sample, const std::vector<std::vector<FoldedFrame>>& locations) {
  std::vector<const FoldedFrame*> frames;  // innermost first
  for (const Profile::LocationId id : sample.stack) {
    for (const FoldedFrame& frame : locations[static_cast<size_t>(id) - 1]) frames.push_back(&frame);
  }
  size_t hidden = 0;
  while (hidden < frames.size() && frames[hidden]->machinery) ++hidden;
  if (hidden == frames.size()) hidden = 0;
  std::string line;
  for (size_t i = frames.size(); i > hidden; --i) absl::StrAppend(&line, line.empty() ? "" : ";", frames[i - 1]->name);
  return line.empty() ? "?" : line;
}

}  // namespace

absl::Status WriteFolded(const Profile& profile, ByteSink& sink) {
  const std::vector<std::vector<FoldedFrame>> locations = FoldLocations(profile);
  std::map<std::string, int64_t> counts;
  for (const Profile::Sample& sample : profile.samples) counts[FoldStack(sample, locations)] += sample.values.front();
  std::string piece;
  for (const auto& [stack, count] : counts) {
    absl::StrAppend(&piece, stack, " ", count, "\n");
    if (piece.size() < kPieceBytes) continue;
    if (absl::Status status = sink.Write(piece); !status.ok()) return status;
    piece.clear();
  }
  return piece.empty() ? absl::OkStatus() : sink.Write(piece);
}

}  // namespace fiberscope::pprof
