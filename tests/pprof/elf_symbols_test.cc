#include "pprof/elf_symbols.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace fiberscope::pprof {
namespace {

// What one test puts into the symbol table.
struct TestSymbol {
  std::string name;
  uint64_t start;
  uint64_t size;
  int type = STT_FUNC;
  int bind = STB_GLOBAL;
  uint16_t section = 3;  // .text
};

constexpr uint64_t kTextStart = 0x1000;
constexpr uint64_t kTextSize = 0x1000;

// A file of a symbol table (section 1) of the type given, its strings (section 2) and code (section 3).
std::string MakeFile(const std::vector<TestSymbol>& symbols, uint32_t table_type = SHT_SYMTAB) {
  std::string names(1, '\0');
  std::string entries(sizeof(Elf64_Sym), '\0');
  for (const TestSymbol& symbol : symbols) {
    const Elf64_Sym entry = {.st_name = static_cast<Elf64_Word>(names.size()),
                             .st_info = static_cast<unsigned char>(ELF64_ST_INFO(symbol.bind, symbol.type)),
                             .st_other = 0,
                             .st_shndx = symbol.section,
                             .st_value = symbol.start,
                             .st_size = symbol.size};
    entries.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
    names += symbol.name + '\0';
  }
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_shoff = sizeof(header);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 4;
  Elf64_Shdr sections[4] = {};
  sections[1].sh_type = table_type;
  sections[1].sh_offset = sizeof(header) + sizeof(sections);
  sections[1].sh_size = entries.size();
  sections[1].sh_entsize = sizeof(Elf64_Sym);
  sections[1].sh_link = 2;
  sections[2].sh_type = SHT_STRTAB;
  sections[2].sh_offset = sections[1].sh_offset + entries.size();
  sections[2].sh_size = names.size();
  sections[3].sh_type = SHT_PROGBITS;
  sections[3].sh_addr = kTextStart;
  sections[3].sh_size = kTextSize;
  std::string file(reinterpret_cast<const char*>(&header), sizeof(header));
  file.append(reinterpret_cast<const char*>(sections), sizeof(sections));
  return file + entries + names;
}

// "" when there is none.
std::string NameAt(const std::string& file, uint64_t address) {
  const auto symbol = ElfSymbols(*ElfImage::Parse(file)).Find(address);
  return symbol ? std::string(symbol->name) : "";
}

TEST(ElfSymbolsTest, SizeSaysWhereAFunctionEnds) {
  const std::string file = MakeFile({{"second", 0x1100, 0x20}, {"first", 0x1000, 0x10}});
  EXPECT_EQ(NameAt(file, 0xfff), "");
  EXPECT_EQ(NameAt(file, 0x1000), "first");
  EXPECT_EQ(NameAt(file, 0x100f), "first");
  EXPECT_EQ(NameAt(file, 0x1010), "");
  EXPECT_EQ(NameAt(file, 0x111f), "second");
  EXPECT_EQ(NameAt(file, 0x1120), "");
  EXPECT_EQ(NameAt(file, UINT64_MAX), "");
}

TEST(ElfSymbolsTest, FunctionWithoutSizeReachesTheNextOrTheSectionsEnd) {
  const std::string file = MakeFile({{"a", 0x1100, 0}, {"b", 0x1200, 0}});
  EXPECT_EQ(NameAt(file, 0x11ff), "a");
  EXPECT_EQ(NameAt(file, 0x1200), "b");
  EXPECT_EQ(NameAt(file, kTextStart + kTextSize - 1), "b");
  EXPECT_EQ(NameAt(file, kTextStart + kTextSize), "");
}

TEST(ElfSymbolsTest, OuterFunctionGoesOnBehindANestedOne) {
  const std::string file = MakeFile({{"outer", 0x1000, 0x100}, {"entry2", 0x1010, 0x10}, {"entry3", 0x1020, 0x10}});
  EXPECT_EQ(NameAt(file, 0x1018), "entry2");
  EXPECT_EQ(NameAt(file, 0x1080), "outer");
}

TEST(ElfSymbolsTest, BestOfSeveralNamesWins) {
  const TestSymbol unsized = {"a_unsized", 0x1000, 0};
  const TestSymbol local = {"b_local", 0x1000, 8, STT_FUNC, STB_LOCAL};
  const TestSymbol internal = {"__c", 0x1000, 8, STT_FUNC, STB_GLOBAL};
  const TestSymbol weak = {"d_weak", 0x1000, 8, STT_FUNC, STB_WEAK};
  const TestSymbol global = {"e_global", 0x1000, 8, STT_GNU_IFUNC, STB_GLOBAL};
  EXPECT_EQ(NameAt(MakeFile({unsized, local}), 0x1000), "b_local");
  EXPECT_EQ(NameAt(MakeFile({local, internal}), 0x1000), "__c");
  EXPECT_EQ(NameAt(MakeFile({internal, weak}), 0x1000), "d_weak");
  EXPECT_EQ(NameAt(MakeFile({weak, global}), 0x1000), "e_global");
  EXPECT_EQ(NameAt(MakeFile({global, weak, internal, local, unsized}), 0x1000), "e_global");
}

TEST(ElfSymbolsTest, DynamicSymbolsServeWhenThereAreNoOthers) {
  EXPECT_EQ(NameAt(MakeFile({{"exported", 0x1000, 8}}, SHT_DYNSYM), 0x1000), "exported");
}

TEST(ElfSymbolsTest, OnlyDefinedFunctionsWithNamesCount) {
  const std::string file = MakeFile(
      {{"object", 0x1000, 8, STT_OBJECT}, {"elsewhere", 0x1000, 8, STT_FUNC, STB_GLOBAL, SHN_UNDEF}, {"", 0x1000, 8}});
  EXPECT_EQ(NameAt(file, 0x1000), "");
  EXPECT_EQ(ElfSymbols(*ElfImage::Parse(file)).size(), 0u);
}

TEST(ElfSymbolsTest, ExtremeValuesDoNotWrapAround) {
  const std::string file = MakeFile({{"huge", 0x1000, UINT64_MAX}, {"top", UINT64_MAX, 1}, {"wild", 0x5000, 0}});
  EXPECT_EQ(NameAt(file, 0xfff), "");
  EXPECT_EQ(NameAt(file, 0x1001), "huge");
  EXPECT_EQ(NameAt(file, 0x5000), "huge") << "no size and outside its section: not even its first byte";
  EXPECT_EQ(NameAt(file, UINT64_MAX), "top");
}

TEST(ElfSymbolsTest, EveryTruncationAndEveryFlippedByteIsHarmless) {
  const std::string file = MakeFile({{"first", 0x1000, 0x10}, {"second", 0x1100, 0}});
  for (size_t i = 0; i < file.size(); ++i) {
    std::string flipped = file;
    flipped[i] = static_cast<char>(~flipped[i]);
    for (const std::string& bytes : {file.substr(0, i), flipped}) {
      if (const auto image = ElfImage::Parse(bytes)) ElfSymbols(*image).Find(0x1000);
    }
  }
}

}  // namespace
}  // namespace fiberscope::pprof
