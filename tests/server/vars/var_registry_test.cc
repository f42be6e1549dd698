#include "server/vars/var_registry.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/parse.hpp>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

TEST(VarRegistryTest, ShowsOneVariableALineSortedByName) {
  VarRegistry registry;
  EXPECT_EQ(registry.Json(), "{\n\n}\n");
  (*registry.NewInt("orders"))->Add(3);
  (*registry.NewFloat("load"))->Set(0.5);
  (*registry.NewString("version"))->Set("1<2");
  (*registry.NewMap("by_route"))->Add("/order", 2);
  ASSERT_TRUE(registry.PublishFunc("a\"b", [] { return boost::json::value{1, "two"}; }).ok());
  ASSERT_TRUE(registry.Publish("own", std::make_shared<IntVar>()).ok());
  EXPECT_EQ(registry.Json(),
            "{\n"
            "\"a\\\"b\": [1,\"two\"],\n"
            "\"by_route\": {\"/order\": 2},\n"
            "\"load\": 0.5,\n"
            "\"orders\": 3,\n"
            "\"own\": 0,\n"
            "\"version\": \"1\\u003c2\"\n"
            "}\n");
}

TEST(VarRegistryTest, FindsWhatWasPublished) {
  VarRegistry registry;
  IntVar* const orders = *registry.NewInt("orders");
  EXPECT_EQ(registry.Find("orders").get(), orders);
  EXPECT_EQ(registry.Find("Orders"), nullptr);
}

TEST(VarRegistryTest, RefusesANameThatIsTakenAndSaysWhatToDo) {
  VarRegistry registry;
  (*registry.NewInt("orders"))->Add(3);
  const absl::Status status = registry.NewString("orders").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(status.message(),
            "a variable \"orders\" is published already: choose another name, or use the one that Find() returns");
  EXPECT_EQ(registry.PublishFunc("orders", [] { return nullptr; }).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(registry.Json(), "{\n\"orders\": 3\n}\n");
}

TEST(VarRegistryTest, RefusesNamesThatAreNone) {
  struct Row {
    std::string name;
    const char* message;
  };
  const Row rows[] = {
      {"", "a variable cannot be called \"\": that is no name; choose another name"},
      {"a\nb", "a variable cannot be called \"a\\nb\": it has a control character; choose another name"},
      {"a\x7f", "a variable cannot be called \"a\\x7f\": it has a control character; choose another name"},
      {"\xff", "a variable cannot be called \"\\xff\": it is not UTF-8; choose another name"},
  };
  VarRegistry registry;
  for (const Row& row : rows) {
    const absl::Status status = registry.NewInt(row.name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), row.message);
  }
  EXPECT_TRUE(registry.NewInt(std::string(256, 'x')).ok());
  EXPECT_EQ(registry.NewInt(std::string(257, 'x')).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registry.Publish("null", nullptr).code(), absl::StatusCode::kInvalidArgument);
}

TEST(VarRegistryTest, AVariableMayPublishAnother) {
  VarRegistry registry;
  ASSERT_TRUE(registry.PublishFunc("first", [&] { return registry.NewInt("second").ok(); }).ok());
  EXPECT_EQ(registry.Json(), "{\n\"first\": true\n}\n");
  EXPECT_EQ(registry.Json(), "{\n\"first\": false,\n\"second\": 0\n}\n");
}

// Goal: of several that publish the same names one each wins, and who reads meanwhile always gets whole JSON.
TEST(VarRegistryTest, IsPublishedInAndReadByManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kNames = 200;
  VarRegistry registry;
  std::atomic<int> published{0};
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int name = 0; name < kNames; ++name) {
        if (registry.NewInt(absl::StrCat("name", name)).ok()) ++published;
        if (name % 20 == 0) {
          const std::string json = registry.Json();
          EXPECT_NO_THROW((void)boost::json::parse(json)) << json;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(published, kNames);
  EXPECT_EQ(boost::json::parse(registry.Json()).as_object().size(), static_cast<size_t>(kNames));
}

}  // namespace
}  // namespace fiberscope::server
