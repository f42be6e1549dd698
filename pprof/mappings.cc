#include "pprof/mappings.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

#include "pprof/loaded_objects.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

// Takes fields off the front of one line. A field that is not of the form asked for makes the rest fail too.
class LineScanner {
 public:
  explicit LineScanner(std::string_view line) : rest_(line) {}

  uint64_t Number(int base) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value, base);
    rest_.remove_prefix(end - rest_.data());
    if (error != std::errc()) Fail();
    return value;
  }

  void Char(char wanted) {
    if (rest_.starts_with(wanted)) {
      rest_.remove_prefix(1);
    } else {
      Fail();
    }
  }

  std::string_view Permissions() {
    constexpr size_t kLength = 4;  // "r-xp"
    const std::string_view permissions = rest_.substr(0, kLength);
    rest_.remove_prefix(permissions.size());
    if (permissions.size() != kLength) Fail();
    return permissions;
  }

  // What is left, without the blanks that align it.
  std::string_view Path() {
    if (!rest_.empty()) Char(' ');
    rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size()));
    return rest_;
  }

  bool failed() const { return failed_; }

 private:
  void Fail() {
    failed_ = true;
    rest_ = {};
  }

  std::string_view rest_;
  bool failed_ = false;
};

// Form: "start-limit perms offset major:minor inode [path]", numbers in hex except the inode; see proc_pid_maps(5).
std::optional<Mapping> ParseLine(std::string_view line) {
  LineScanner scanner(line);
  Mapping mapping;
  mapping.start = scanner.Number(16);
  scanner.Char('-');
  mapping.limit = scanner.Number(16);
  scanner.Char(' ');
  const std::string_view permissions = scanner.Permissions();
  scanner.Char(' ');
  mapping.offset = scanner.Number(16);
  scanner.Char(' ');
  scanner.Number(16);  // device
  scanner.Char(':');
  scanner.Number(16);
  scanner.Char(' ');
  scanner.Number(10);  // inode
  std::string_view path = scanner.Path();
  if (scanner.failed() || mapping.start >= mapping.limit || permissions[2] != 'x') return std::nullopt;
  if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
  mapping.file = path;
  return mapping;
}

bool Overlaps(const Mapping& mapping, const LoadedObject& object) {
  return std::any_of(object.code.begin(), object.code.end(), [&](const AddressRange& code) {
    return mapping.start < code.limit && code.start < mapping.limit;
  });
}

}  // namespace

std::vector<Mapping> ParseMappings(std::string_view maps) {
  std::vector<Mapping> mappings;
  for (size_t end; (end = maps.find('\n')) != std::string_view::npos; maps.remove_prefix(end + 1)) {
    if (auto mapping = ParseLine(maps.substr(0, end))) mappings.push_back(*std::move(mapping));
  }
  return mappings;
}

std::string ReadProcessMaps() {
  std::string text;
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  constexpr size_t kBlock = 64 * 1024;
  for (;;) {
    const size_t size = text.size();
    text.resize(size + kBlock);
    ssize_t got;
    do {
      got = read(fd, text.data() + size, kBlock);
    } while (got < 0 && errno == EINTR);
    text.resize(size + std::max<ssize_t>(got, 0));
    if (got <= 0) break;
  }
  close(fd);
  return text;
}

std::vector<Mapping> ReadProcessMappings() {
  std::vector<Mapping> mappings = ParseMappings(ReadProcessMaps());
  const LoadedObjects loaded = ReadLoadedObjects();
  for (Mapping& mapping : mappings) {
    const auto owner = std::find_if(loaded.objects.begin(), loaded.objects.end(),
                                    [&](const LoadedObject& object) { return Overlaps(mapping, object); });
    if (owner != loaded.objects.end()) mapping.build_id = owner->build_id;
  }
  // pprof takes the first mapping for the program's.
  std::stable_partition(mappings.begin(), mappings.end(), [&](const Mapping& mapping) {
    return !loaded.objects.empty() && Overlaps(mapping, loaded.objects.front());
  });
  return mappings;
}

}  // namespace fiberscope::pprof
