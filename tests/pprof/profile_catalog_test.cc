#include "pprof/profile_catalog.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class NamedSource : public ProfileSource {
 public:
  explicit NamedSource(std::string name) : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  std::string_view description() const override { return ""; }
  int64_t Count() const override { return 0; }
  absl::StatusOr<Profile> Collect() override { return Profile(); }
  absl::Status WriteText(int, ByteSink&) override { return absl::OkStatus(); }

 private:
  const std::string name_;
};

absl::Status Add(ProfileCatalog& catalog, std::string name) {
  return catalog.Add(std::make_unique<NamedSource>(std::move(name)));
}

std::vector<std::string> Names(const ProfileCatalog& catalog) {
  std::vector<std::string> names;
  for (ProfileSource* source : catalog.All()) names.emplace_back(source->name());
  return names;
}

TEST(ProfileCatalog, ListsByNameBytewise) {
  ProfileCatalog catalog;
  for (const char* name : {"heap", "goroutine", "Heap", "example.com/x.files"}) EXPECT_TRUE(Add(catalog, name).ok());
  EXPECT_THAT(Names(catalog), ElementsAre("Heap", "example.com/x.files", "goroutine", "heap"));
}

TEST(ProfileCatalog, FindsExactNamesOnly) {
  ProfileCatalog catalog;
  ASSERT_TRUE(Add(catalog, "heap").ok());
  ASSERT_NE(catalog.Find("heap"), nullptr);
  EXPECT_EQ(catalog.Find("heap")->name(), "heap");
  for (const char* name : {"", "hea", "heap2", "Heap", "heap/"}) EXPECT_EQ(catalog.Find(name), nullptr) << name;
}

TEST(ProfileCatalog, RefusesATakenName) {
  ProfileCatalog catalog;
  ASSERT_TRUE(Add(catalog, "heap").ok());
  const ProfileSource* first = catalog.Find("heap");
  const absl::Status status = Add(catalog, "heap");
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(status.message()), HasSubstr("heap"));
  EXPECT_EQ(catalog.Find("heap"), first);
}

TEST(ProfileCatalog, RefusesNamesThatTheTextFormCannotCarry) {
  ProfileCatalog catalog;
  for (const char* name : {"", " ", "my profile", "a\tb", "a\n"}) {
    EXPECT_EQ(Add(catalog, name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_THAT(Names(catalog), ElementsAre());
}

TEST(ProfileCatalog, RefusesNamesThatNoUrlLeadsTo) {
  ProfileCatalog catalog;
  for (const char* name : {"/", "/a", "a/", "a//b", ".", "..", "a/./b", "../a", "a/.."}) {
    EXPECT_EQ(Add(catalog, name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  for (const char* name : {"a.b", "...", "a/..b", "<a&b>", "\xc3\xa4", "100%", "a?b#c"}) {
    EXPECT_TRUE(Add(catalog, name).ok()) << name;
  }
}

TEST(ProfileCatalog, ShowsWhatAnotherOneHasUnlessItHasThatNameItself) {
  ProfileCatalog more;
  ProfileCatalog catalog(&more);
  ASSERT_TRUE(Add(catalog, "heap").ok());
  ASSERT_TRUE(Add(more, "heap").ok());
  ASSERT_TRUE(Add(more, "files").ok());
  ASSERT_TRUE(Add(more, "zoo").ok());
  EXPECT_THAT(Names(catalog), ElementsAre("files", "heap", "zoo"));
  EXPECT_THAT(Names(more), ElementsAre("files", "heap", "zoo"));
  EXPECT_NE(catalog.Find("heap"), more.Find("heap"));
  EXPECT_EQ(catalog.Find("zoo"), more.Find("zoo"));
  EXPECT_EQ(catalog.All()[1], catalog.Find("heap"));
  EXPECT_EQ(catalog.Find("none"), nullptr);
}

}  // namespace
}  // namespace fiberscope::pprof
