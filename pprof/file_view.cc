#include "pprof/file_view.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace fiberscope::pprof {

std::optional<FileView> FileView::Open(const std::string& path) {
  // Without O_NONBLOCK, opening a FIFO that took the file's place would hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  struct stat status;
  void* start = MAP_FAILED;
  size_t size = 0;
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
    size = static_cast<size_t>(status.st_size);
    start = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  }
  close(fd);
  if (start == MAP_FAILED) return std::nullopt;
  return FileView(std::string_view(static_cast<const char*>(start), size));
}

FileView::FileView(FileView&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

FileView& FileView::operator=(FileView&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

FileView::~FileView() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace fiberscope::pprof
