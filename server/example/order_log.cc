#include "server/example/order_log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/blocking.h"

namespace demo {
namespace {

bool WriteAndSync(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) bytes.remove_prefix(static_cast<size_t>(written));
  }
  return fsync(file) == 0;
}

}  // namespace

absl::StatusOr<OrderLog> OrderLog::Create(const std::string& parent) {
  std::string directory = parent + "/fiberscope-demo-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("order log: make a directory in ", parent));
  }
  OrderLog log(-1);
  log.directory_ = std::move(directory);
  log.file_ = open(log.path().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (log.file_ < 0) return absl::ErrnoToStatus(errno, absl::StrCat("order log: create ", log.path()));
  return log;
}

OrderLog::~OrderLog() {
  if (file_ >= 0) close(file_);
  if (directory_.empty()) return;
  unlink(path().c_str());
  rmdir(directory_.c_str());
}

absl::Status OrderLog::Append(std::string_view lines) {
  const bool stored = fiberscope::Blocking([&] { return WriteAndSync(file_, lines); });
  if (stored) return absl::OkStatus();
  const std::error_code why(errno, std::generic_category());
  return absl::InternalError(absl::StrCat("the order could not be stored: ", why.message()));
}

}  // namespace demo
