#include "pprof/mappings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "pprof/loaded_objects.h"

namespace fiberscope::pprof {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

TEST(ParseMappingsTest, KeepsExecutableLinesInOrder) {
  const std::string maps =
      "55d0c0a00000-55d0c0a02000 r--p 00000000 fe:00 247498                     /usr/bin/cat\n"
      "55d0c0a02000-55d0c0a06000 r-xp 00002000 fe:00 247498                     /usr/bin/cat\n"
      "55d0c1b00000-55d0c1b21000 rw-p 00000000 00:00 0                          [heap]\n"
      "7f0000026000-7f000017c000 r-xp 00026000 fe:00 332835                     /usr/lib/libc.so.6\n"
      "7fff00000000-7fff00002000 r-xp 00000000 00:00 0                          [vdso]\n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
  EXPECT_THAT(
      ParseMappings(maps),
      ElementsAre(
          Mapping{.start = 0x55d0c0a02000,
                  .limit = 0x55d0c0a06000,
                  .offset = 0x2000,
                  .file = "/usr/bin/cat",
                  .build_id = ""},
          Mapping{.start = 0x7f0000026000,
                  .limit = 0x7f000017c000,
                  .offset = 0x26000,
                  .file = "/usr/lib/libc.so.6",
                  .build_id = ""},
          Mapping{.start = 0x7fff00000000, .limit = 0x7fff00002000, .offset = 0, .file = "[vdso]", .build_id = ""},
          Mapping{.start = 0xffffffffff600000,
                  .limit = 0xffffffffff601000,
                  .offset = 0,
                  .file = "[vsyscall]",
                  .build_id = ""}));
}

struct PathCase {
  std::string text;  // what follows the inode
  std::string file;
};

TEST(ParseMappingsTest, PathIsTheRestOfTheLine) {
  const PathCase kPaths[] = {
      {"", ""},
      {" ", ""},
      {" /a", "/a"},
      {"                     /opt/my app/lib x.so", "/opt/my app/lib x.so"},
      {" /a (deleted)", "/a"},
      {" /a (deleted) (deleted)", "/a (deleted)"},
      {" /a (deleted)x", "/a (deleted)x"},
      {" (deleted)", "(deleted)"},
      {" /line\\012break", "/line\\012break"},
      {" /dev/zero (deleted)", "/dev/zero"},
      {" /memfd:jit (deleted)", "/memfd:jit"},
      {" [anon:code]", "[anon:code]"},
      {" /\xff\xfe", "/\xff\xfe"},
      {" /tab\there\r", "/tab\there\r"},
      {" /trailing ", "/trailing "},
  };
  for (const PathCase& row : kPaths) {
    const std::vector<Mapping> mappings = ParseMappings("1000-2000 r-xp 00000000 fe:00 7" + row.text + "\n");
    ASSERT_EQ(mappings.size(), 1u) << row.text;
    EXPECT_EQ(mappings[0].file, row.file) << row.text;
  }
}

TEST(ParseMappingsTest, LinesOfAnotherFormAreLeftOut) {
  for (const std::string line : {
           "",
           " ",
           "-",
           "1000",
           "1000-",
           "1000-2000",
           "1000-2000 ",
           "1000-2000 r-x",
           "1000-2000 r-xp",
           "1000-2000 r-xp ",
           "1000-2000 r-xp 0 fe:00",
           "1000-2000 r-xp 0 fe 7 /a",
           "1000-2000 r-xp 0 fe:00 x /a",
           "1000-2000 r-xp 0 fe:00 7/a",
           "1000-2000 r-xpp 0 fe:00 7 /a",
           "1000-2000 r-xp  0 fe:00 7 /a",
           "1000-2000 rw-p 0 fe:00 7 /a",
           " 1000-2000 r-xp 0 fe:00 7 /a",
           "0x1000-0x2000 r-xp 0 fe:00 7 /a",
           "+1000-2000 r-xp 0 fe:00 7 /a",
           "1000--2000 r-xp 0 fe:00 7 /a",
           "2000-1000 r-xp 0 fe:00 7 /a",
           "1000-1000 r-xp 0 fe:00 7 /a",
           "10000000000000000-10000000000000001 r-xp 0 fe:00 7 /a",
           "1000-2000 r-xp 10000000000000000 fe:00 7 /a",
           "VmPeak:    1000 kB",
       }) {
    EXPECT_THAT(ParseMappings(line + "\n"), IsEmpty()) << line;
    EXPECT_EQ(ParseMappings(line + "\n1000-2000 r-xp 0 fe:00 7 /a\n").size(), 1u)
        << "the next line still counts: " << line;
  }
}

TEST(ParseMappingsTest, LastLineWithoutNewlineIsIncomplete) {
  const std::string whole = "1000-2000 r-xp 0 fe:00 7 /a\n1000-2000 r-xp 0 fe:00 7 /usr/lib/libc.so.6\n";
  EXPECT_EQ(ParseMappings(whole).size(), 2u);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_LE(ParseMappings(whole.substr(0, size)).size(), 1u);
  }
}

TEST(ParseMappingsTest, BytesThatAreNoTextAreSkipped) {
  EXPECT_THAT(ParseMappings(std::string("\0\0\n\xff\n", 5)), IsEmpty());
  EXPECT_THAT(ParseMappings(std::string(100'000, '\n')), IsEmpty());
}

TEST(ReadProcessMappingsTest, MainBinaryIsFirstAndHasItsBuildId) {
  const std::vector<Mapping> mappings = ReadProcessMappings();
  ASSERT_THAT(mappings, Not(IsEmpty()));
  const auto here = reinterpret_cast<uintptr_t>(&ParseMappings);
  EXPECT_LE(mappings[0].start, here);
  EXPECT_GT(mappings[0].limit, here);
  EXPECT_THAT(mappings[0].file, EndsWith("/mappings_test"));
  EXPECT_THAT(mappings[0].build_id, MatchesRegex("[0-9a-f]{40}"));
}

TEST(ReadProcessMappingsTest, EveryCodeSegmentIsCoveredOnce) {
  const std::vector<Mapping> mappings = ReadProcessMappings();
  for (const LoadedObject& object : ReadLoadedObjects().objects) {
    for (const AddressRange& code : object.code) {
      const auto covers = [&](const Mapping& m) { return m.start <= code.start && code.start < m.limit; };
      ASSERT_EQ(std::count_if(mappings.begin(), mappings.end(), covers), 1) << object.path;
      EXPECT_EQ(std::find_if(mappings.begin(), mappings.end(), covers)->build_id, object.build_id) << object.path;
    }
  }
}

TEST(ReadProcessMappingsTest, VdsoHasItsName) {
  const uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
  if (vdso == 0) GTEST_SKIP() << "this kernel maps no vdso";
  for (const Mapping& mapping : ReadProcessMappings()) {
    if (mapping.start == vdso) {
      EXPECT_EQ(mapping.file, "[vdso]");
    }
  }
}

TEST(ReadProcessMappingsTest, CodeMadeAtRunTimeHasNoFile) {
  constexpr size_t kPage = 4096;
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  const auto address = reinterpret_cast<uintptr_t>(page);
  const std::vector<Mapping> mappings = ReadProcessMappings();
  const auto found = std::find_if(mappings.begin(), mappings.end(),
                                  [&](const Mapping& m) { return m.start <= address && address < m.limit; });
  ASSERT_NE(found, mappings.end());
  EXPECT_EQ(found->file, "");
  EXPECT_EQ(found->build_id, "");
  munmap(page, kPage);
}

}  // namespace
}  // namespace fiberscope::pprof
