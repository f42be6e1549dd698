#include "pprof/elf_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace fiberscope::pprof {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// One note: name and description padded to `padding` bytes.
std::string Note(uint32_t type, const std::string& name, const std::string& description, size_t padding = 4) {
  const Elf64_Nhdr header = {.n_namesz = static_cast<Elf64_Word>(name.size()),
                             .n_descsz = static_cast<Elf64_Word>(description.size()),
                             .n_type = type};
  std::string note(reinterpret_cast<const char*>(&header), sizeof(header));
  for (const std::string& part : {name, description}) {
    note += part;
    note.append((padding - note.size() % padding) % padding, '\0');
  }
  return note;
}

const std::string kGnu("GNU", 4);

// A file of a header, one PT_NOTE segment with a build id, and the sections "", ".names" and ".text".
struct TestFile {
  Elf64_Ehdr header = {};
  Elf64_Phdr segment = {};
  std::string note = Note(NT_GNU_BUILD_ID, kGnu, "\x01\xab\xff\x10");
  std::string names = std::string("\0.names\0.text\0", 14);
  std::string text = "code";
  Elf64_Shdr sections[3] = {};

  TestFile() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_phoff = sizeof(header);
    header.e_phentsize = sizeof(segment);
    header.e_phnum = 1;
    const size_t note_at = sizeof(header) + sizeof(segment);
    segment.p_type = PT_NOTE;
    segment.p_offset = note_at;
    segment.p_filesz = note.size();
    segment.p_align = 4;
    const size_t names_at = note_at + note.size();
    const size_t text_at = names_at + names.size();
    sections[1].sh_name = 1;
    sections[1].sh_type = SHT_STRTAB;
    sections[1].sh_offset = names_at;
    sections[1].sh_size = names.size();
    sections[2].sh_name = 8;
    sections[2].sh_type = SHT_PROGBITS;
    sections[2].sh_offset = text_at;
    sections[2].sh_size = text.size();
    header.e_shoff = text_at + text.size();
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 3;
    header.e_shstrndx = 1;
  }

  std::string Bytes() const {
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof(header));
    bytes.append(reinterpret_cast<const char*>(&segment), sizeof(segment));
    bytes += note + names + text;
    bytes.append(reinterpret_cast<const char*>(sections), sizeof(sections));
    return bytes;
  }
};

TEST(ElfImageTest, FindsSegmentsSectionsAndBuildId) {
  const std::string bytes = TestFile().Bytes();
  const auto image = ElfImage::Parse(bytes);
  ASSERT_TRUE(image);
  EXPECT_EQ(image->program_headers(), bytes.substr(sizeof(Elf64_Ehdr), sizeof(Elf64_Phdr)));
  EXPECT_EQ(image->BuildId(), "01abff10");
  EXPECT_THAT(image->sections(), SizeIs(3));
  const Elf64_Shdr* text = image->FindSection(".text");
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(image->Contents(*text), "code");
  EXPECT_EQ(image->FindSection(".data"), nullptr);
}

TEST(ElfImageTest, ReadsCountsThatDoNotFitTheHeader) {
  TestFile file;
  file.sections[0].sh_size = file.header.e_shnum;
  file.sections[0].sh_link = file.header.e_shstrndx;
  file.header.e_shnum = 0;
  file.header.e_shstrndx = SHN_XINDEX;
  const std::string bytes = file.Bytes();
  const auto image = ElfImage::Parse(bytes);
  ASSERT_TRUE(image);
  EXPECT_NE(image->FindSection(".text"), nullptr);
}

TEST(ElfImageTest, OtherFilesAreNotElf) {
  const std::string good = TestFile().Bytes();
  EXPECT_FALSE(ElfImage::Parse(""));
  EXPECT_FALSE(
      ElfImage::Parse("\x7f"
                      "ELF"));
  EXPECT_FALSE(ElfImage::Parse(good.substr(0, sizeof(Elf64_Ehdr) - 1)));
  for (const int index : {0, 3, EI_CLASS, EI_DATA}) {
    std::string bad = good;
    bad[index] ^= 3;
    EXPECT_FALSE(ElfImage::Parse(bad)) << index;
  }
}

TEST(ElfImageTest, WhatLiesOutsideTheFileIsAbsent) {
  for (const uint64_t offset : {uint64_t{1} << 20, UINT64_MAX, UINT64_MAX - 63}) {
    TestFile file;
    file.header.e_shoff = offset;
    std::string bytes = file.Bytes();
    EXPECT_THAT(ElfImage::Parse(bytes)->sections(), IsEmpty());

    file = TestFile();
    file.header.e_phoff = offset;
    bytes = file.Bytes();
    EXPECT_THAT(ElfImage::Parse(bytes)->program_headers(), IsEmpty());
    EXPECT_EQ(ElfImage::Parse(bytes)->BuildId(), "");

    file = TestFile();
    file.segment.p_offset = offset;
    bytes = file.Bytes();
    EXPECT_EQ(ElfImage::Parse(bytes)->BuildId(), "");

    file = TestFile();
    file.sections[2].sh_offset = offset;
    file.sections[1].sh_size = offset;
    bytes = file.Bytes();
    const auto image = ElfImage::Parse(bytes);
    EXPECT_EQ(image->Contents(image->sections()[2]), "");
    EXPECT_EQ(image->FindSection(".text"), nullptr);
  }
}

TEST(ElfImageTest, ImpossibleSectionCountsAreRefused) {
  for (const uint64_t count : {uint64_t{4}, uint64_t{1} << 58, UINT64_MAX}) {
    TestFile file;
    file.header.e_shnum = 0;
    file.sections[0].sh_size = count;
    const std::string bytes = file.Bytes();
    EXPECT_THAT(ElfImage::Parse(bytes)->sections(), IsEmpty()) << count;
  }
}

TEST(ElfImageTest, SectionWithoutBytesIsEmpty) {
  TestFile file;
  file.sections[2].sh_type = SHT_NOBITS;
  const std::string bytes = file.Bytes();
  const auto image = ElfImage::Parse(bytes);
  EXPECT_EQ(image->Contents(image->sections()[2]), "");
}

TEST(ElfImageTest, EveryTruncationIsHarmless) {
  const std::string bytes = TestFile().Bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    if (const auto image = ElfImage::Parse(cut)) {
      image->BuildId();
      image->FindSection(".text");
    }
  }
}

TEST(GnuBuildIdTest, IsFoundBehindOtherNotes) {
  EXPECT_EQ(GnuBuildId(Note(NT_GNU_BUILD_ID, kGnu, "\x12\x34")), "1234");
  EXPECT_EQ(GnuBuildId(Note(1, "Linux", "12345") + Note(NT_GNU_BUILD_ID, kGnu, "\xfe")), "fe");
  EXPECT_EQ(GnuBuildId(Note(5, kGnu, "12345678", 8) + Note(NT_GNU_BUILD_ID, kGnu, "\xfe", 8), 8), "fe");
}

TEST(GnuBuildIdTest, OtherNotesAreNotBuildIds) {
  EXPECT_EQ(GnuBuildId(""), "");
  EXPECT_EQ(GnuBuildId(Note(NT_GNU_ABI_TAG, kGnu, "\x12\x34")), "");
  EXPECT_EQ(GnuBuildId(Note(NT_GNU_BUILD_ID, "GNU", "\x12\x34")), "") << "name lacks its zero";
  EXPECT_EQ(GnuBuildId(Note(NT_GNU_BUILD_ID, std::string("Go\0\0", 4), "\x12\x34")), "");
}

TEST(GnuBuildIdTest, ImpossibleSizesEndTheSearch) {
  const std::string good = Note(NT_GNU_BUILD_ID, kGnu, "\x12\x34\x56\x78");
  for (size_t size = 0; size < good.size(); ++size) EXPECT_EQ(GnuBuildId(good.substr(0, size)), "");
  for (const uint32_t wrong : {uint32_t{0x7fffffff}, UINT32_MAX, UINT32_MAX - 2}) {
    for (const size_t field : {0, 4}) {
      std::string bad = good;
      std::memcpy(bad.data() + field, &wrong, sizeof(wrong));
      EXPECT_EQ(GnuBuildId(bad), "");
    }
  }
}

TEST(StringAtTest, EndsWithinTheTable) {
  const std::string_view table("ab\0c", 4);
  EXPECT_EQ(StringAt(table, 0), "ab");
  EXPECT_EQ(StringAt(table, 1), "b");
  EXPECT_EQ(StringAt(table, 2), "");
  EXPECT_EQ(StringAt(table, 3), "") << "not terminated";
  EXPECT_EQ(StringAt(table, 4), "");
  EXPECT_EQ(StringAt(table, UINT64_MAX), "");
}

}  // namespace
}  // namespace fiberscope::pprof
