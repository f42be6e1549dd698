// Where things are in an ELF file: program headers, sections, the build id.
#ifndef FIBERSCOPE_PPROF_ELF_IMAGE_H_
#define FIBERSCOPE_PPROF_ELF_IMAGE_H_

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiberscope::pprof {

// Lower-case hex of the first GNU build-id note in `notes`, the bytes of a PT_NOTE segment or SHT_NOTE section; ""
// when there is none. `alignment` is the segment's: note fields are padded to 8 bytes if it is 8, otherwise to 4.
std::string GnuBuildId(std::string_view notes, uint64_t alignment = 4);

// The `index`-th T of an array in `bytes`, which may be unaligned. The caller checks the bounds.
template <typename T>
T ElementAt(std::string_view bytes, size_t index) {
  T element;
  std::memcpy(&element, bytes.data() + index * sizeof(T), sizeof(T));
  return element;
}

// Reads the image of a 64-bit file of this machine's byte order, as it is on disk or, for the vdso, in memory. Trusts
// no offset, size or index found in it: what does not fit into the image is absent.
//
// A value; views into the image, which must outlive it. Thread-compatible.
class ElfImage {
 public:
  // Nothing when `bytes` is not such a file.
  static std::optional<ElfImage> Parse(std::string_view bytes);

  // The table of Elf64_Phdr as it is; empty when it does not lie in the image.
  std::string_view program_headers() const { return program_headers_; }

  std::string BuildId() const;

  // Empty when the file has no section headers (or impossible ones).
  const std::vector<Elf64_Shdr>& sections() const { return sections_; }

  // What the section holds in the file; empty for SHT_NOBITS.
  std::string_view Contents(const Elf64_Shdr& section) const;

  // "" when unknown.
  std::string_view SectionName(const Elf64_Shdr& section) const;

  // Null when there is none of that name.
  const Elf64_Shdr* FindSection(std::string_view name) const;

 private:
  explicit ElfImage(std::string_view bytes) : bytes_(bytes) {}

  std::string_view Slice(uint64_t offset, uint64_t size) const;

  std::string_view bytes_;
  std::string_view program_headers_;
  std::vector<Elf64_Shdr> sections_;
  std::string_view section_names_;
};

// The zero-terminated string at `offset` of a string table; "" when it does not end within the table.
std::string_view StringAt(std::string_view table, uint64_t offset);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ELF_IMAGE_H_
