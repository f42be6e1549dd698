#include "pprof/elf_image.h"

#include <bit>

#include "absl/strings/escaping.h"

namespace fiberscope::pprof {
namespace {

constexpr unsigned char kNativeByteOrder = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;

}  // namespace

std::string GnuBuildId(std::string_view notes, uint64_t alignment) {
  const uint64_t padding = alignment == 8 ? 7 : 3;
  // Sizes are 32 bits wide, so sums of them cannot overflow.
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    const auto header = ElementAt<Elf64_Nhdr>(notes, 0);
    const uint64_t description = (sizeof(header) + uint64_t{header.n_namesz} + padding) & ~padding;
    const uint64_t end = description + header.n_descsz;
    if (end > notes.size()) break;
    const std::string_view name = notes.substr(sizeof(header), header.n_namesz);
    if (header.n_type == NT_GNU_BUILD_ID && name == std::string_view("GNU", 4)) {
      return absl::BytesToHexString(absl::string_view(notes.data() + description, header.n_descsz));
    }
    const uint64_t next = (end + padding) & ~padding;
    if (next >= notes.size()) break;
    notes.remove_prefix(next);
  }
  return "";
}

std::string_view StringAt(std::string_view table, uint64_t offset) {
  if (offset >= table.size()) return "";
  table.remove_prefix(offset);
  const size_t end = table.find('\0');
  return end == std::string_view::npos ? "" : table.substr(0, end);
}

std::optional<ElfImage> ElfImage::Parse(std::string_view bytes) {
  if (bytes.size() < sizeof(Elf64_Ehdr)) return std::nullopt;
  const auto header = ElementAt<Elf64_Ehdr>(bytes, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != kNativeByteOrder) return std::nullopt;

  ElfImage image(bytes);
  if (header.e_phentsize == sizeof(Elf64_Phdr)) {
    image.program_headers_ = image.Slice(header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr));
  }
  if (header.e_shoff == 0 || header.e_shentsize != sizeof(Elf64_Shdr)) return image;

  // A file of 65280 sections and more keeps their number and the index of the name table in section 0.
  const std::string_view first = image.Slice(header.e_shoff, sizeof(Elf64_Shdr));
  if (first.empty()) return image;
  const auto section0 = ElementAt<Elf64_Shdr>(first, 0);
  const uint64_t count = header.e_shnum != 0 ? header.e_shnum : section0.sh_size;
  const uint64_t names = header.e_shstrndx != SHN_XINDEX ? header.e_shstrndx : section0.sh_link;
  if (count > bytes.size() / sizeof(Elf64_Shdr)) return image;
  const std::string_view table = image.Slice(header.e_shoff, count * sizeof(Elf64_Shdr));
  if (table.empty()) return image;
  image.sections_.resize(count);
  std::memcpy(image.sections_.data(), table.data(), table.size());
  if (names < count) image.section_names_ = image.Contents(image.sections_[names]);
  return image;
}

std::string ElfImage::BuildId() const {
  for (size_t i = 0; i < program_headers_.size() / sizeof(Elf64_Phdr); ++i) {
    const auto segment = ElementAt<Elf64_Phdr>(program_headers_, i);
    if (segment.p_type != PT_NOTE) continue;
    std::string id = GnuBuildId(Slice(segment.p_offset, segment.p_filesz), segment.p_align);
    if (!id.empty()) return id;
  }
  return "";
}

std::string_view ElfImage::Contents(const Elf64_Shdr& section) const {
  return section.sh_type == SHT_NOBITS ? "" : Slice(section.sh_offset, section.sh_size);
}

std::string_view ElfImage::SectionName(const Elf64_Shdr& section) const {
  return StringAt(section_names_, section.sh_name);
}

const Elf64_Shdr* ElfImage::FindSection(std::string_view name) const {
  for (const Elf64_Shdr& section : sections_) {
    if (SectionName(section) == name) return &section;
  }
  return nullptr;
}

std::string_view ElfImage::Slice(uint64_t offset, uint64_t size) const {
  if (offset > bytes_.size() || size > bytes_.size() - offset) return "";
  return bytes_.substr(offset, size);
}

}  // namespace fiberscope::pprof
