#include "server/http/host.h"

#include <string>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

// R-B1: exact names of this machine, with our port or none, and nothing that merely looks like them.
TEST(HostPolicyTest, AllowsTheMachinesOwnNamesAndNothingElse) {
  struct Row {
    const char* host;
    bool allowed;
  };
  static constexpr Row kRows[] = {
      {"localhost", true},
      {"localhost:6060", true},
      {"LOCALHOST", true},
      {"LocalHost.:6060", true},
      {"LOCALHOST.", true},
      {"127.0.0.1", true},
      {"127.0.0.1:6060", true},
      {"127.255.0.3", true},
      {"[::1]", true},
      {"[::1]:6060", true},
      // The wrong port, or none where one is announced.
      {"localhost:6061", false},
      {"localhost:", false},
      {"localhost:06060", false},
      {"localhost:6060:6060", false},
      {"[::1]:80", false},
      {":6060", false},
      {"", false},
      // Other spellings of a loopback address, which browsers and resolvers may take for one.
      {"127.1", false},
      {"127.0.1", false},
      {"0177.0.0.1", false},
      {"127.0.0.01", false},
      {"0x7f.0.0.1", false},
      {"2130706433", false},
      {"127.0.0.1.", false},
      {"127.0.0.256", false},
      {"0.0.0.0", false},
      {"::1", false},
      {"[::1", false},
      {"[::1]x", false},
      {"[::1]:6060:6060", false},
      {"[0:0:0:0:0:0:0:1]", false},
      {"[::ffff:127.0.0.1]", false},
      // Names that begin or end like ours, or resolve to this machine on some systems.
      {"localhost..", false},
      {".localhost", false},
      {"localhost6", false},
      {"localhost.localdomain", false},
      {"printer.local", false},
      {"evil.localhost", false},
      {"localhost.evil.com", false},
      {"127.0.0.1.evil.com", false},
      {"127.evil.com", false},
      {"evil.com", false},
      {"user@localhost", false},
      {"localhost@evil.com", false},
      {"localhost/", false},
      {"localhost, evil.com", false},
      {" localhost", false},
      {"128.0.0.1", false},
      {"10.0.0.1", false},
  };
  const HostPolicy policy("127.0.0.1", 6060, {});
  for (const Row& row : kRows) EXPECT_EQ(policy.Allows(row.host), row.allowed) << row.host;
}

TEST(HostPolicyTest, RefusesNamesWithANulInside) {
  const HostPolicy policy("127.0.0.1", 6060, {});
  EXPECT_FALSE(policy.Allows(std::string("127.0.0.1\0.evil.com", 19)));
  EXPECT_FALSE(policy.Allows(std::string("localhost\0", 10)));
}

TEST(HostPolicyTest, AllowsTheAddressItIsBoundTo) {
  const HostPolicy v4("10.1.2.3", 80, {});
  EXPECT_TRUE(v4.Allows("10.1.2.3"));
  EXPECT_TRUE(v4.Allows("10.1.2.3:80"));
  EXPECT_FALSE(v4.Allows("10.1.2.4"));
  const HostPolicy v6("fd00::7", 80, {});
  EXPECT_TRUE(v6.Allows("[fd00::7]:80"));
  EXPECT_FALSE(v6.Allows("fd00::7"));
}

TEST(HostPolicyTest, TheAddressOfAllInterfacesIsNobodysName) {
  EXPECT_FALSE(HostPolicy("0.0.0.0", 80, {}).Allows("0.0.0.0"));
  EXPECT_FALSE(HostPolicy("0.0.0.0", 80, {}).Allows(""));
  EXPECT_FALSE(HostPolicy("::", 80, {}).Allows("[::]"));
  EXPECT_FALSE(HostPolicy("::", 80, {}).Allows("[]"));
}

TEST(HostPolicyTest, ConfiguredNamesMatchInFullAndInAnyCase) {
  const HostPolicy policy("127.0.0.1", 6060, {"debug.example.com:443", ""});
  EXPECT_TRUE(policy.Allows("debug.example.com:443"));
  EXPECT_TRUE(policy.Allows("Debug.Example.COM:443"));
  EXPECT_FALSE(policy.Allows("debug.example.com"));
  EXPECT_FALSE(policy.Allows("debug.example.com:6060"));
  EXPECT_FALSE(policy.Allows("x.debug.example.com:443"));
  EXPECT_FALSE(policy.Allows(""));
}

}  // namespace
}  // namespace fiberscope::server
