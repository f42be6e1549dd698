// What is known of a program that has been stripped, compressed, split, deleted and so on: runs symbolizer_cases_program in each
// of these shapes and compares all that it says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "pprof/elf_image.h"
#include "pprof/file_view.h"

namespace fiberscope::pprof {
namespace {

namespace fs = std::filesystem;
using ::testing::EndsWith;

constexpr char kNoLines[] = "comment: No files and lines: the program has no debug information (-g1 is enough).\n";
constexpr char kStripped[] = "comment: Functions without names: the program has been stripped.\n";

// Lines of symbolizer_cases_program.cc.
constexpr char kEverything[] =
    "static at once: StaticFunction\n"
    "exported: ExportedFunction symbolizer_cases_program.cc:31\n"
    "static: StaticFunction symbolizer_cases_program.cc:37\n"
    "inlined: InlinedFunction symbolizer_cases_program.cc:43 < OuterFunction symbolizer_cases_program.cc:49\n"
    "mapping: functions filenames lines inlines\n"
    "build id: right\n";

const std::string kAllNames = std::string() +
                              "static at once: StaticFunction\n"
                              "exported: ExportedFunction\n"
                              "static: StaticFunction\n"
                              "inlined: OuterFunction\n"
                              "mapping: functions\n"
                              "build id: right\n" +
                              kNoLines;

const std::string kExportedNames = std::string() +
                                   "static at once: ??\n"
                                   "exported: ExportedFunction\n"
                                   "static: ??\n"
                                   "inlined: ??\n"
                                   "mapping: functions\n"
                                   "build id: right\n" +
                                   kNoLines + kStripped;

const std::string kNothing = std::string() +
                             "static at once: ??\n"
                             "exported: ??\n"
                             "static: ??\n"
                             "inlined: ??\n"
                             "mapping:\n"
                             "build id: right\n" +
                             kNoLines + kStripped;

std::string BuildId(const std::string& path) {
  const auto file = FileView::Open(path);
  const auto image = file ? ElfImage::Parse(file->bytes()) : std::nullopt;
  return image ? image->BuildId() : "unreadable: " + path;
}

class SymbolizerCasesTest : public testing::Test {
 protected:
  SymbolizerCasesTest()
      : folder_(std::string(testing::TempDir()) + "/" + testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/.debug");
  }

  void Copy(const std::string& build, const std::string& name = "program") {
    fs::copy_file("tests/pprof/" + build, InFolder(name));
    fs::permissions(InFolder(name), fs::perms::owner_all);
  }

  std::string InFolder(const std::string& name) const { return folder_ + "/" + name; }

  // Runs `command` in the folder.
  void Shell(const std::string& command) {
    ASSERT_EQ(std::system(("cd '" + folder_ + "' && " + command).c_str()), 0) << command;
  }

  // Moves the debug information of `program` to "program.debug".
  void Split() {
    Shell("objcopy --only-keep-debug program program.debug && strip program && "
          "objcopy --add-gnu-debuglink=program.debug program");
  }

  // What the program says, without the vdso's line, which is the same in every case.
  std::string Run(const std::string& arguments = "") {
    const std::string command = "'" + InFolder("program") + "' --build_id=" + BuildId(InFolder("program")) + " " + arguments;
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), &pclose);
    std::string output;
    for (int c; (c = std::fgetc(pipe.get())) != EOF;) output += static_cast<char>(c);
    if (!output.starts_with("vdso:")) return output;
    const std::string vdso = output.substr(0, output.find('\n'));
    EXPECT_THAT(vdso, EndsWith("clock_gettime"));
    return output.substr(vdso.size() + 1);
  }

  const std::string folder_;
};

TEST_F(SymbolizerCasesTest, AsBuiltHasEverything) {
  Copy("cases_program");
  EXPECT_EQ(Run(), kEverything);
}

TEST_F(SymbolizerCasesTest, NonPieHasEverything) {
  Copy("cases_program_no_pie");
  EXPECT_EQ(Run(), kEverything);
}

TEST_F(SymbolizerCasesTest, CompressedHasEverything) {
  for (const std::string format : {"zlib", "zlib-gnu"}) {
    fs::remove(InFolder("program"));
    Copy("cases_program");
    Shell("objcopy --compress-debug-sections=" + format + " program");
    EXPECT_EQ(Run(), kEverything) << format;
  }
}

TEST_F(SymbolizerCasesTest, StrippedOfDebugInformationHasNames) {
  Copy("cases_program");
  Shell("strip -g program");
  EXPECT_EQ(Run(), kAllNames);
}

TEST_F(SymbolizerCasesTest, BuiltWithoutDebugInformationHasNames) {
  Copy("cases_program_no_lines");
  EXPECT_EQ(Run(), kAllNames);
}

TEST_F(SymbolizerCasesTest, StrippedHasExportedNames) {
  Copy("cases_program");
  Shell("strip program");
  EXPECT_EQ(Run(), kExportedNames);
}

TEST_F(SymbolizerCasesTest, StrippedWithoutExportsHasNothingAndLetsPprofTry) {
  Copy("cases_program_exports_nothing");
  Shell("strip program");
  EXPECT_EQ(Run(), kNothing);
}

TEST_F(SymbolizerCasesTest, DebugFileBesideTheProgramGivesEverything) {
  Copy("cases_program");
  Split();
  EXPECT_EQ(Run(), kEverything);
  Shell("mv program.debug .debug/");
  EXPECT_EQ(Run(), kEverything) << "in .debug/";
  EXPECT_EQ(Run("--delete"), kEverything) << "the program is gone, its debug file is not";
}

TEST_F(SymbolizerCasesTest, MissingDebugFileLeavesExportedNames) {
  Copy("cases_program");
  Split();
  Shell("rm program.debug");
  EXPECT_EQ(Run(), kExportedNames);
}

TEST_F(SymbolizerCasesTest, DebugFileOfAnotherBuildIsNotBelieved) {
  Copy("cases_program");
  Split();
  Copy("cases_program_no_pie", "other");
  Shell("objcopy --only-keep-debug other program.debug");
  EXPECT_EQ(Run(), kExportedNames);
}

TEST_F(SymbolizerCasesTest, ChangedDebugFileGivesNamesButNoLines) {
  Copy("cases_program");
  Split();
  Shell("echo >> program.debug");  // the checksum is wrong now, the build id is not
  EXPECT_EQ(Run(), kAllNames);
}

TEST_F(SymbolizerCasesTest, DeletedWhileRunningHasEverything) {
  Copy("cases_program");
  EXPECT_EQ(Run("--delete"), kEverything);
  EXPECT_FALSE(fs::exists(InFolder("program")));
}

TEST_F(SymbolizerCasesTest, ReplacedWhileRunningHasEverythingFromItsOwnFile) {
  Copy("cases_program");
  Copy("cases_program_no_pie", "other");
  const std::string other = BuildId(InFolder("other"));
  EXPECT_EQ(Run("--replace='" + InFolder("other") + "'"), kEverything);
  EXPECT_EQ(BuildId(InFolder("program")), other);
}

}  // namespace
}  // namespace fiberscope::pprof
