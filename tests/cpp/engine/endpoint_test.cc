#include "llmbench/engine/endpoint.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace llmbench {
namespace {

Endpoint Good() {
  Endpoint endpoint;
  endpoint.host = "example.test";
  endpoint.port = 8000;
  endpoint.path = "/v1/completions";
  return endpoint;
}

TEST(Endpoint, AcceptsWhatIsRight) {
  EXPECT_TRUE(Good().Validate().ok());
  Endpoint v6 = Good();
  v6.host = "::1";
  EXPECT_TRUE(v6.Validate().ok());
  EXPECT_EQ(v6.HostHeader(), "[::1]:8000");
  EXPECT_EQ(v6.Url(), "http://[::1]:8000");
}

TEST(Endpoint, LeavesTheDefaultPortOutOfTheHostHeader) {
  Endpoint endpoint = Good();
  endpoint.port = 80;
  EXPECT_EQ(endpoint.HostHeader(), "example.test");
  endpoint.tls = true;
  EXPECT_EQ(endpoint.HostHeader(), "example.test:80");
  endpoint.port = 443;
  EXPECT_EQ(endpoint.HostHeader(), "example.test");
}

TEST(Endpoint, NamesWhatIsWrong) {
  struct Row {
    std::function<void(Endpoint&)> spoil;
    const char* says;
  };
  const std::vector<Row> rows = {
      {[](Endpoint& e) { e.host.clear(); }, "no host"},
      {[](Endpoint& e) { e.host = "a b"; }, "'a b'"},
      {[](Endpoint& e) { e.host = "a\r\nX: y"; }, "host"},
      {[](Endpoint& e) { e.port = 0; }, "port"},
      {[](Endpoint& e) { e.path = "v1"; }, "'v1'"},
      {[](Endpoint& e) { e.path = "/a b"; }, "spaces"},
      {[](Endpoint& e) { e.method = "PO ST"; }, "method"},
      {[](Endpoint& e) {
         e.headers = {{"X Y", "z"}};
       },
       "'X Y'"},
      {[](Endpoint& e) {
         e.headers = {{"Authorization", "Bearer s3cret\r\nX: y"}};
       },
       "Authorization"},
      {[](Endpoint& e) {
         e.headers = {{"content-length", "3"}};
       },
       "set by llmbench"},
  };
  for (const Row& row : rows) {
    Endpoint endpoint = Good();
    row.spoil(endpoint);
    const std::string message(endpoint.Validate().message());
    EXPECT_NE(message.find(row.says), std::string::npos) << message;
    EXPECT_EQ(message.find("s3cret"), std::string::npos) << message;
  }
}

TEST(MakeRequestHead, LetsTheUserOverrideDefaults) {
  Endpoint endpoint = Good();
  endpoint.headers = {{"accept", "text/plain"}, {"Authorization", "Bearer k"}};
  const std::string head = MakeRequestHead(endpoint, true);
  EXPECT_EQ(head.rfind("POST /v1/completions HTTP/1.1\r\nHost: example.test:8000\r\n", 0), 0u) << head;
  EXPECT_NE(head.find("accept: text/plain\r\n"), std::string::npos);
  EXPECT_EQ(head.find("text/event-stream"), std::string::npos);
  EXPECT_NE(head.find("Authorization: Bearer k\r\n"), std::string::npos);
  EXPECT_NE(head.find("Accept-Encoding: identity\r\n"), std::string::npos);
  EXPECT_EQ(head.substr(head.size() - 18), "\r\nContent-Length: ");
  EXPECT_NE(MakeRequestHead(Good(), false).find("Accept: application/json\r\n"), std::string::npos);
}

}  // namespace
}  // namespace llmbench
