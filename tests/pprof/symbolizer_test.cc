#include "pprof/symbolizer.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pprof/elf_image.h"
#include "tests/pprof/plugin.h"

namespace fiberscope::pprof {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr auto kLongEnough = std::chrono::minutes(1);

// A place in the code, and what the symbolizer should say of it.
struct Site {
  uintptr_t pc;
  int line;
  int outer_line = 0;
};

[[gnu::noinline]] uintptr_t ReturnAddress() { return reinterpret_cast<uintptr_t>(__builtin_return_address(0)); }

// clang-format off
[[gnu::noinline]] Site KnownFunction() {
  const uintptr_t address = ReturnAddress();
  return {.pc = address - 1, .line = __LINE__ - 1};
}

[[gnu::always_inline]] inline Site InlinedFunction() {
  const uintptr_t address = ReturnAddress();
  return {.pc = address - 1, .line = __LINE__ - 1};
}

[[gnu::noinline]] Site OuterFunction() {
  Site site = InlinedFunction();
  site.outer_line = __LINE__ - 1;
  return site;
}
// clang-format on

template <typename F>
uintptr_t AddressOf(F* function) {
  return reinterpret_cast<uintptr_t>(function);
}

std::unique_ptr<Symbolizer> MakeSymbolizerWithLines() {
  auto symbolizer = MakeProcessSymbolizer();
  EXPECT_TRUE(symbolizer->WaitForLines(kLongEnough));
  return symbolizer;
}

// One of the shared objects next to the test, loaded from a file of its own: the loader keys objects by file, and every
// test wants a fresh one.
class Plugin {
 public:
  explicit Plugin(const std::string& name)
      : path_(std::string(testing::TempDir()) + "/" + std::to_string(++count_) + "_" + name) {
    std::filesystem::copy_file("tests/pprof/" + name, path_, std::filesystem::copy_options::overwrite_existing);
    Load();
  }
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  ~Plugin() {
    Unload();
    std::filesystem::remove(path_);
  }

  void Load() {
    handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ == nullptr) ADD_FAILURE() << dlerror();
  }
  void Unload() {
    if (handle_ != nullptr) dlclose(handle_);
    handle_ = nullptr;
  }

  PluginSite Exported() const { return Call("PluginExportedSite"); }
  PluginSite Hidden() const { return Call("PluginHiddenSite"); }
  const std::string& path() const { return path_; }

 private:
  PluginSite Call(const char* name) const {
    auto* function = reinterpret_cast<PluginSite (*)()>(dlsym(handle_, name));
    if (function == nullptr) {
      ADD_FAILURE() << dlerror();
      return {};
    }
    return function();
  }

  static inline int count_ = 0;
  const std::string path_;
  void* handle_ = nullptr;
};

auto IsFrame(const std::string& function, const std::string& file_end, int line) {
  return AllOf(Field("function", &Frame::function, HasSubstr(function)),
               Field("file", &Frame::file, EndsWith(file_end)), Field("line", &Frame::line, line));
}

TEST(SymbolizerTest, FunctionHasNamesFileAndLine) {
  auto symbolizer = MakeSymbolizerWithLines();
  const Site site = KnownFunction();
  const Symbolized& found = symbolizer->Lookup(site.pc);
  ASSERT_THAT(found.frames, ElementsAre(IsFrame("KnownFunction", "symbolizer_test.cc", site.line)));
  EXPECT_EQ(found.frames[0].function, "fiberscope::pprof::(anonymous namespace)::KnownFunction()");
  EXPECT_EQ(found.frames[0].system_name, "_ZN10fiberscope5pprof12_GLOBAL__N_113KnownFunctionEv");
  EXPECT_EQ(found.function_start, AddressOf(&KnownFunction));
}

TEST(SymbolizerTest, InlinedCallComesBeforeThePhysicalFunction) {
  auto symbolizer = MakeSymbolizerWithLines();
  const Site site = OuterFunction();
  const Symbolized& found = symbolizer->Lookup(site.pc);
  EXPECT_THAT(found.frames, ElementsAre(IsFrame("InlinedFunction", "symbolizer_test.cc", site.line),
                                        IsFrame("OuterFunction", "symbolizer_test.cc", site.outer_line)));
  EXPECT_EQ(found.function_start, AddressOf(&OuterFunction));
}

TEST(SymbolizerTest, NamesAreThereBeforeLines) {
  auto symbolizer = MakeProcessSymbolizer();
  const Symbolized& found = symbolizer->Lookup(KnownFunction().pc);
  ASSERT_THAT(found.frames, SizeIs(1));
  EXPECT_EQ(ShortFunctionName(found.frames[0].function), "fiberscope::pprof::(anonymous)::KnownFunction");
  EXPECT_EQ(found.function_start, AddressOf(&KnownFunction));
}

TEST(SymbolizerTest, NamesDoNotWaitForTheLoadersLock) {
  const auto symbolizer = MakeProcessSymbolizer();
  std::atomic<bool> locked{false};
  std::atomic<bool> leave{false};
  struct Holder {
    Symbolizer& symbolizer;
    std::atomic<bool>& locked;
    std::atomic<bool>& leave;
  } holder{*symbolizer, locked, leave};
  // The reading begins, and cannot go on: this thread has the lock.
  std::thread thread([&holder] {
    dl_iterate_phdr(
        [](dl_phdr_info*, size_t, void* data) {
          auto& holder = *static_cast<Holder*>(data);
          EXPECT_FALSE(holder.symbolizer.WaitForLines(std::chrono::milliseconds(0)));
          holder.locked = true;
          holder.locked.notify_all();
          holder.leave.wait(false);
          return 1;
        },
        &holder);
  });
  locked.wait(false);
  const Symbolized& symbolized = symbolizer->Lookup(KnownFunction().pc);
  ASSERT_FALSE(symbolized.frames.empty());
  EXPECT_EQ(symbolized.lines, LineState::kPending);
  leave = true;
  leave.notify_all();
  thread.join();
}

TEST(SymbolizerTest, AnswerWithoutLinesIsReplacedAndStaysValid) {
  auto symbolizer = MakeProcessSymbolizer();
  const Site site = OuterFunction();
  const Symbolized& early = symbolizer->Lookup(site.pc);  // starts the loader, which takes far longer than this call
  const Symbolized copy = early;
  EXPECT_THAT(early.frames, SizeIs(1));

  ASSERT_TRUE(symbolizer->WaitForLines(kLongEnough));
  const Symbolized& late = symbolizer->Lookup(site.pc);
  EXPECT_THAT(late.frames, SizeIs(2));
  EXPECT_EQ(early, copy);
  EXPECT_EQ(&symbolizer->Lookup(site.pc), &late);
}

TEST(SymbolizerTest, ReferencesStayValidWhileOthersAreAdded) {
  auto symbolizer = MakeProcessSymbolizer();
  const uintptr_t start = AddressOf(&KnownFunction);
  const Symbolized& first = symbolizer->Lookup(start);
  const Symbolized copy = first;
  for (uintptr_t pc = start + 1; pc < start + 10'000; ++pc) symbolizer->Lookup(pc);
  EXPECT_EQ(first, copy);
}

TEST(SymbolizerTest, LibraryFunctionHasItsPublicName) {
  auto symbolizer = MakeProcessSymbolizer();
  const uintptr_t start = AddressOf(dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "qsort"));
  const Symbolized& found = symbolizer->Lookup(start + 1);
  ASSERT_THAT(found.frames, SizeIs(1));
  EXPECT_EQ(found.frames[0].function, "qsort");
  EXPECT_EQ(found.frames[0].system_name, "qsort");
  EXPECT_EQ(found.function_start, start);
}

TEST(SymbolizerTest, AddressesThatAreNoCodeHaveNoFrames) {
  auto symbolizer = MakeSymbolizerWithLines();
  static int data = 0;
  auto heap = std::make_unique<int>(0);
  for (const uintptr_t pc : {uintptr_t{0}, uintptr_t{1}, AddressOf(&data), AddressOf(heap.get()), UINTPTR_MAX}) {
    EXPECT_EQ(symbolizer->Lookup(pc), Symbolized()) << std::hex << pc;
  }
}

TEST(SymbolizerTest, CodeMadeAtRunTimeHasNoFrames) {
  auto symbolizer = MakeProcessSymbolizer();
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  EXPECT_EQ(symbolizer->Lookup(AddressOf(page)), Symbolized());
  munmap(page, 4096);
}

TEST(SymbolizerTest, VdsoFunctionHasAName) {
  void* vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
  if (vdso == nullptr) GTEST_SKIP() << "this kernel maps no vdso";
  const uintptr_t start = AddressOf(dlsym(vdso, "__vdso_clock_gettime"));
  ASSERT_NE(start, 0u);
  auto symbolizer = MakeProcessSymbolizer();
  const Symbolized& found = symbolizer->Lookup(start);
  ASSERT_THAT(found.frames, SizeIs(1));
  EXPECT_THAT(found.frames[0].function, HasSubstr("clock_gettime"));
  EXPECT_EQ(found.function_start, start);
}

// How much a shared object tells depends on how it was built.
struct PluginCase {
  std::string file;
  bool has_lines;
  bool has_hidden_names;
};

class SymbolizerPluginTest : public testing::TestWithParam<PluginCase> {};

TEST_P(SymbolizerPluginTest, ObjectLoadedAfterFirstUseIsKnown) {
  auto symbolizer = MakeSymbolizerWithLines();
  const Site own = KnownFunction();
  const Symbolized& before = symbolizer->Lookup(own.pc);

  const Plugin plugin(GetParam().file);
  ASSERT_TRUE(symbolizer->WaitForLines(kLongEnough));

  const std::string file = GetParam().has_lines ? "tests/pprof/plugin.cc" : "";
  const PluginSite exported = plugin.Exported();
  EXPECT_THAT(symbolizer->Lookup(exported.pc).frames,
              ElementsAre(IsFrame("PluginExportedSite", file, GetParam().has_lines ? exported.line : 0)));
  const PluginSite hidden = plugin.Hidden();
  if (GetParam().has_hidden_names) {
    EXPECT_THAT(symbolizer->Lookup(hidden.pc).frames,
                ElementsAre(IsFrame("HiddenFunction", file, GetParam().has_lines ? hidden.line : 0)));
  } else {
    EXPECT_THAT(symbolizer->Lookup(hidden.pc).frames, IsEmpty()) << "no name is better than a neighbour's";
  }
  EXPECT_EQ(&symbolizer->Lookup(own.pc), &before);
}

INSTANTIATE_TEST_SUITE_P(
    Builds, SymbolizerPluginTest,
    testing::Values(PluginCase{.file = "libplugin_lines.so", .has_lines = true, .has_hidden_names = true},
                    PluginCase{.file = "libplugin_compressed.so", .has_lines = true, .has_hidden_names = true},
                    PluginCase{.file = "libplugin_names.so", .has_lines = false, .has_hidden_names = true},
                    PluginCase{.file = "libplugin_stripped.so", .has_lines = false, .has_hidden_names = false}),
    [](const auto& info) { return info.param.file.substr(3, info.param.file.find('.') - 3); });

// Guards the cases above against a build that silently ignores an option.
TEST(SymbolizerPluginFilesTest, AreWhatTheirNamesSay) {
  const auto has_section = [](const std::string& file, std::string_view name) {
    std::ifstream in("tests/pprof/" + file, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    const auto image = ElfImage::Parse(bytes);
    const Elf64_Shdr* section = image ? image->FindSection(name) : nullptr;
    return section != nullptr && (file.find("compressed") == std::string::npos || section->sh_flags & SHF_COMPRESSED);
  };
  EXPECT_TRUE(has_section("libplugin_lines.so", ".debug_line"));
  EXPECT_TRUE(has_section("libplugin_compressed.so", ".debug_info"));
  EXPECT_FALSE(has_section("libplugin_names.so", ".debug_line"));
  EXPECT_TRUE(has_section("libplugin_names.so", ".symtab"));
  EXPECT_FALSE(has_section("libplugin_stripped.so", ".symtab"));
}

TEST(SymbolizerTest, DeletedLibraryKeepsItsExportedNames) {
  auto symbolizer = MakeProcessSymbolizer();
  const Plugin plugin("libplugin_lines.so");
  std::filesystem::remove(plugin.path());
  EXPECT_THAT(symbolizer->Lookup(plugin.Exported().pc).frames, ElementsAre(IsFrame("PluginExportedSite", "", 0)));
}

TEST(SymbolizerTest, ReplacedLibraryIsNotReadFromItsSuccessor) {
  auto symbolizer = MakeProcessSymbolizer();
  const Plugin plugin("libplugin_lines.so");
  std::filesystem::remove(plugin.path());
  std::filesystem::copy_file("tests/pprof/libplugin_names.so", plugin.path());
  ASSERT_TRUE(symbolizer->WaitForLines(kLongEnough));
  EXPECT_THAT(symbolizer->Lookup(plugin.Exported().pc).frames, ElementsAre(IsFrame("PluginExportedSite", "", 0)));
}

TEST(SymbolizerTest, UnloadedLibraryIsForgottenButItsAnswersStayValid) {
  auto symbolizer = MakeProcessSymbolizer();
  Plugin plugin("libplugin_names.so");
  const uintptr_t pc = plugin.Exported().pc;
  const Symbolized& before = symbolizer->Lookup(pc);
  const Symbolized copy = before;
  ASSERT_THAT(before.frames, SizeIs(1));
  plugin.Unload();
  symbolizer->Lookup(1);  // any address that is not in the cache makes it look at the loader's list
  EXPECT_EQ(symbolizer->Lookup(pc), Symbolized());
  EXPECT_EQ(before, copy);
}

// More loads than the symbolizer is willing to read debug information for. Names must go on.
TEST(SymbolizerTest, LibrariesLoadedWithoutEndHaveNamesToTheEnd) {
  auto symbolizer = MakeSymbolizerWithLines();
  int with_lines = 0;
  for (int i = 0; i < 10; ++i) {
    Plugin plugin("libplugin_lines.so");
    ASSERT_TRUE(symbolizer->WaitForLines(kLongEnough));
    const PluginSite site = plugin.Exported();
    const std::vector<Frame> frames = symbolizer->Lookup(site.pc).frames;
    ASSERT_THAT(frames, ElementsAre(Field(&Frame::function, "PluginExportedSite")));
    if (frames[0].line != 0) {
      EXPECT_EQ(frames[0].line, site.line);
      ++with_lines;
    }
  }
  EXPECT_EQ(with_lines, 7) << "the first of 8 readings was made before the loop";
}

TEST(SymbolizerTest, WaitGivesUpAtItsTimeout) {
  auto symbolizer = MakeProcessSymbolizer();
  symbolizer->WaitForLines(std::chrono::milliseconds(0));  // either answer is right; it must come back
  EXPECT_TRUE(symbolizer->WaitForLines(kLongEnough));
  EXPECT_TRUE(symbolizer->WaitForLines(std::chrono::milliseconds(0)));
}

TEST(SymbolizerTest, DestructionWaitsForTheLoader) {
  for (int i = 0; i < 3; ++i) MakeProcessSymbolizer()->WaitForLines(std::chrono::milliseconds(0));
}

TEST(SymbolizerTest, ThreadsAgreeWhileLinesArrive) {
  auto symbolizer = MakeProcessSymbolizer();
  const Site site = OuterFunction();
  const uintptr_t start = AddressOf(&OuterFunction);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        for (uintptr_t pc = start; pc <= site.pc; ++pc) {
          const Symbolized& found = symbolizer->Lookup(pc);
          ASSERT_FALSE(found.frames.empty());
          ASSERT_EQ(found.function_start, start);
        }
      }
      ASSERT_TRUE(symbolizer->WaitForLines(kLongEnough));
      ASSERT_EQ(symbolizer->Lookup(site.pc).frames.size(), 2u);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Runs part of the tests once more in a process whose binary is gone, as after an upgrade.
TEST(SymbolizerTest, DeletedProgramStillHasLines) {
  const std::string copy = std::string(testing::TempDir()) + "/deleted_program";
  std::filesystem::copy_file("/proc/self/exe", copy, std::filesystem::copy_options::overwrite_existing);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    setenv("FIBERSCOPE_TEST_DELETE", copy.c_str(), 1);
    unsetenv("TEST_TOTAL_SHARDS");
    unsetenv("XML_OUTPUT_FILE");
    execl(copy.c_str(), copy.c_str(), "--gtest_filter=SymbolizerDeletedProgramTest.*:SymbolizerTest.FunctionHasNames*",
          nullptr);
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

// The child's proof that main() below has done its part.
TEST(SymbolizerDeletedProgramTest, IsDeleted) {
  if (std::getenv("FIBERSCOPE_TEST_DELETE") == nullptr)
    GTEST_SKIP() << "runs in the child of DeletedProgramStillHasLines";
  EXPECT_THAT(std::filesystem::read_symlink("/proc/self/exe").string(), EndsWith(" (deleted)"));
}

}  // namespace
}  // namespace fiberscope::pprof

int main(int argc, char** argv) {
  // Set for the child of DeletedProgramStillHasLines only.
  if (const char* program = std::getenv("FIBERSCOPE_TEST_DELETE")) std::filesystem::remove(program);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
