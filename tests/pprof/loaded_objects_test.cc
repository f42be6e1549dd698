#include "pprof/loaded_objects.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/auxv.h>

#include <algorithm>
#include <cstdlib>

namespace fiberscope::pprof {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;

const LoadedObject* FindOwner(const LoadedObjects& loaded, uintptr_t pc) {
  for (const LoadedObject& object : loaded.objects) {
    for (const AddressRange& code : object.code) {
      if (code.Contains(pc)) return &object;
    }
  }
  return nullptr;
}

TEST(LoadedObjectsTest, MainProgramIsFirstAndHasABuildId) {
  const LoadedObjects loaded = ReadLoadedObjects();
  ASSERT_THAT(loaded.objects, Not(IsEmpty()));
  const LoadedObject& main = loaded.objects.front();
  EXPECT_EQ(main.path, "");
  EXPECT_EQ(FindOwner(loaded, reinterpret_cast<uintptr_t>(&FindOwner)), &main);
  EXPECT_THAT(main.build_id, MatchesRegex("[0-9a-f]{40}"));
  EXPECT_THAT(main.program_headers, Not(IsEmpty()));
}

TEST(LoadedObjectsTest, LibraryHasItsPath) {
  const LoadedObjects loaded = ReadLoadedObjects();
  void* qsort = dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "qsort");
  const LoadedObject* libc = FindOwner(loaded, reinterpret_cast<uintptr_t>(qsort));
  ASSERT_NE(libc, nullptr);
  EXPECT_THAT(libc->path, HasSubstr("libc.so.6"));
  EXPECT_FALSE(libc->is_vdso);
}

TEST(LoadedObjectsTest, VdsoIsMarked) {
  const uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
  if (vdso == 0) GTEST_SKIP() << "this kernel maps no vdso";
  const LoadedObjects loaded = ReadLoadedObjects();
  const auto is_vdso = [](const LoadedObject& object) { return object.is_vdso; };
  EXPECT_EQ(std::count_if(loaded.objects.begin(), loaded.objects.end(), is_vdso), 1);
  EXPECT_TRUE(std::find_if(loaded.objects.begin(), loaded.objects.end(), is_vdso)->all.Contains(vdso));
}

TEST(LoadedObjectsTest, GenerationTellsThatTheListIsTheSame) {
  EXPECT_EQ(ReadLoadedObjects().generation, CurrentLoadGeneration());
  EXPECT_EQ(ReadLoadedObjects().objects, ReadLoadedObjects().objects);
}

}  // namespace
}  // namespace fiberscope::pprof
