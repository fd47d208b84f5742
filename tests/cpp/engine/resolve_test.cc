#include "llmbench/engine/resolve.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace llmbench {
namespace {

TEST(ResolveHost, KeepsNumericAddresses) {
  const auto v4 = ResolveHost("127.0.0.1", 80);
  ASSERT_TRUE(v4.ok()) << v4.status();
  EXPECT_EQ(*v4, std::vector<std::string>{"127.0.0.1"});
  const auto v6 = ResolveHost("::1", 80);
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_EQ(*v6, std::vector<std::string>{"::1"});
}

TEST(ResolveHost, FindsLocalhost) {
  const auto addresses = ResolveHost("localhost", 80);
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  EXPECT_NE(std::find(addresses->begin(), addresses->end(), "127.0.0.1"), addresses->end());
}

TEST(ResolveHost, NamesTheHostThatDoesNotExist) {
  const auto addresses = ResolveHost("no-such-host.invalid", 80);
  ASSERT_FALSE(addresses.ok());
  EXPECT_NE(std::string(addresses.status().message()).find("no-such-host.invalid"), std::string::npos);
}

}  // namespace
}  // namespace llmbench
