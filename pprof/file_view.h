// The bytes of a file, mapped read-only.
#ifndef FIBERSCOPE_PPROF_FILE_VIEW_H_
#define FIBERSCOPE_PPROF_FILE_VIEW_H_

#include <optional>
#include <string>
#include <string_view>

namespace fiberscope::pprof {

// For large files of which little is read, such as the symbol table of a binary: only pages that are touched count, and
// the kernel can drop them again. Whoever truncates the file while it is mapped makes the reader die of SIGBUS; do not
// use it for files that others write in place (a running binary cannot be: ETXTBSY).
//
// Thread-compatible. Move-only; views of the bytes stay valid across a move and end with the object.
class FileView {
 public:
  // Nothing when the file cannot be opened, is not a regular file, or is empty.
  static std::optional<FileView> Open(const std::string& path);

  FileView(FileView&& other) noexcept;
  FileView& operator=(FileView&& other) noexcept;
  ~FileView();

  std::string_view bytes() const { return bytes_; }

 private:
  explicit FileView(std::string_view bytes) : bytes_(bytes) {}

  std::string_view bytes_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_FILE_VIEW_H_
