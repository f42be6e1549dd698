#include "pprof/trace/trace_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "pprof/byte_sink.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/trace_frames.h"

namespace fiberscope::pprof {
namespace {

constexpr char kPrefix[] = "fiberscope-";
constexpr char kSuffix[] = ".trace";
constexpr char kUnfinished[] = ".unfinished";
constexpr size_t kMaxReasonBytes = 60;
// An unfinished file that is older was left by a process that died.
constexpr std::chrono::hours kAbandoned{1};

absl::Status ErrnoStatus(std::string_view what, const std::string& path) {
  const int error = errno;
  return absl::ErrnoToStatus(error, absl::StrFormat("flight recorder: %s %s", absl::string_view(what.data(), what.size()), path));
}

class FileSink : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<FileSink>> Create(const std::string& path) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return ErrnoStatus("cannot create", path);
    return std::unique_ptr<FileSink>(new FileSink(fd, path));
  }
  ~FileSink() override {
    if (fd_ >= 0) close(fd_);
  }

  absl::Status Write(std::string_view bytes) override {
    while (status_.ok() && !bytes.empty()) {
      const ssize_t written = write(fd_, bytes.data(), bytes.size());
      if (written >= 0) {
        bytes.remove_prefix(static_cast<size_t>(written));
      } else if (errno != EINTR) {
        status_ = ErrnoStatus("cannot write", path_);
      }
    }
    return status_;
  }

  absl::Status Close() {
    if (close(std::exchange(fd_, -1)) != 0 && status_.ok()) status_ = ErrnoStatus("cannot write", path_);
    return status_;
  }

 private:
  FileSink(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  const std::string path_;
  absl::Status status_;
};

// "slow task Order/7: 312 ms" -> "slow-task-order-7-312-ms"
std::string ForFileName(std::string_view reason) {
  std::string name;
  for (const char c : reason.substr(0, kMaxReasonBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte)) {
      name.push_back(absl::ascii_tolower(byte));
    } else if (!name.empty() && name.back() != '-') {
      name.push_back('-');
    }
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name.empty() ? "snapshot" : name;
}

std::string FileName(std::string_view reason) {
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%E6S", absl::Now(), absl::UTCTimeZone());
  return absl::StrFormat("%s%sZ-%s%s", kPrefix, time, ForFileName(reason), kSuffix);
}

}  // namespace

absl::StatusOr<std::string> TraceDirectory::Save(const FlightSnapshot& snapshot) {
  absl::StatusOr<std::string> path = Write(snapshot);
  if (path.ok()) {
    saved_.fetch_add(1, std::memory_order_relaxed);
    RemoveOldest(*path);
  } else if (failed_.fetch_add(1, std::memory_order_relaxed) == 0) {
    std::fprintf(stderr, "fiberscope: %s; snapshots that fail later are only counted\n",
                 std::string(path.status().message()).c_str());
  }
  return path;
}

absl::StatusOr<std::string> TraceDirectory::Write(const FlightSnapshot& snapshot) {
  if (mkdir(options_.path.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus("cannot make directory", options_.path);
  const std::string path = options_.path + "/" + FileName(snapshot.reason);
  const std::string unfinished = path + kUnfinished;
  absl::StatusOr<std::unique_ptr<FileSink>> file = FileSink::Create(unfinished);
  if (!file.ok()) return file.status();
  const std::unique_ptr<TraceFrames> frames = MakeTraceFrames(symbolizer_);
  absl::Status status = WriteGo122Trace(snapshot.generations, TraceFormat::kGo122, *frames, **file);
  status.Update((*file)->Close());
  if (status.ok() && rename(unfinished.c_str(), path.c_str()) != 0) status = ErrnoStatus("cannot rename to", path);
  if (status.ok()) return path;
  (void)unlink(unfinished.c_str());
  return status;
}

// Names begin with the time, so that the oldest is the first by name. Another process may keep its snapshots there, too, and remove
// some at the same time.
void TraceDirectory::RemoveOldest(const std::string& newest) const {
  namespace fs = std::filesystem;
  struct File {
    fs::path path;
    uint64_t bytes;
  };
  std::vector<File> files;
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::directory_iterator at(options_.path, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!absl::StartsWith(name, kPrefix)) continue;
    std::error_code gone;
    if (absl::EndsWith(name, kSuffix)) {
      const uint64_t size = at->file_size(gone);
      if (!gone) files.push_back({at->path(), size});
      if (!gone) bytes += size;
    } else if (absl::EndsWith(name, std::string(kSuffix) + kUnfinished)) {
      const auto written = at->last_write_time(gone);
      if (!gone && fs::file_time_type::clock::now() - written > kAbandoned) fs::remove(at->path(), gone);
    }
  }
  std::ranges::sort(files, {}, &File::path);
  for (const File& each : files) {
    if (bytes <= options_.max_bytes) return;
    if (each.path == newest) continue;
    std::error_code gone;
    fs::remove(each.path, gone);
    bytes -= each.bytes;
  }
}

}  // namespace fiberscope::pprof
