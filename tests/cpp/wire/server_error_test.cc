#include "llmbench/wire/server_error.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "feeding.h"

namespace llmbench::wire {
namespace {

TEST(ServerErrorTest, MessageOf) {
  const struct {
    const char* body;
    const char* message;
  } rows[] = {
      {R"({"error":{"message":"m","type":"BadRequestError","param":null,"code":400}})",
       "m (code 400, type BadRequestError)"},
      {R"({"error":{"message":"m","code":null}})", "m"},
      {R"({"error":{"code":"c"}})", "no message (code c)"},
      {R"({"error":{"message":{"a":1}}})", R"({"a":1})"},
      {R"({"error":"m"})", "m"},
      {R"({"error":["a",{"msg":"b"}]})", "a; b"},
      {R"({"error":null,"detail":"m"})", "m"},
      {R"({"error":false})", "false"},
      {R"({"object":"error","message":"m","type":"t","code":1})", "m (code 1, type t)"},
      {R"({"message":"m"})", "m"},
      {R"({"detail":"Not Found"})", "Not Found"},
      {R"({"detail":{"message":"m","x":1}})", "m"},
      {R"({"detail":[{"loc":["body","n",0],"msg":"bad","type":"t"},{"msg":"worse"},"odd",{"a":1}]})",
       R"(body.n.0: bad; worse; odd; {"a":1})"},
      {R"("a string")", "a string"},
      {R"({"a":1})", ""},
      {"[]", ""},
      {"{", ""},
      {"<html>", ""},
      {"", ""},
  };
  const auto scratch = MakeJsonScratch();
  for (const auto& row : rows) {
    WithPadding(row.body, [&](std::string_view body) {
      EXPECT_EQ(ServerErrorMessage(*scratch, body), row.message) << row.body;
    });
  }
}

}  // namespace
}  // namespace llmbench::wire
