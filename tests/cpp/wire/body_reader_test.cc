#include "llmbench/wire/body_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "body_reading.h"

namespace llmbench::wire {
namespace {

using std::string_literals::operator""s;

TEST(BodyReaderTest, AByteOrderMarkBeginsAnyBody) {
  const std::string mark = "\xef\xbb\xbf";
  const struct {
    const char* name;
    const char* format;
    std::string body;
    bool streamed = true;
  } rows[] = {
      {"lines", "ollama", "{\"response\":\"a\",\"done\":false}\n{\"response\":\"b\",\"done\":true}\n"},
      {"lines in NUL", "vllm-generate", "{\"text\":[\"a\"]}\0{\"text\":[\"ab\"]}\0"s},
      {"documents", "jetstream", "{\"text\": \"a\"}\n{\"text\": \"b\"}"},
      {"space, then lines", "ollama",
       " \n{\"response\":\"a\",\"done\":false}\n{\"response\":\"b\",\"done\":true}\n"},
      {"events", "tgi",
       "data: {\"token\":{\"id\":1,\"text\":\"a\"}}\n\n"
       "data: {\"token\":{\"id\":2,\"text\":\"b\"},\"generated_text\":\"ab\"}\n\n"},
      {"one document", "openai-completions",
       "{\"choices\":[{\"index\":0,\"text\":\"ab\",\"finish_reason\":\"stop\"}]}", false},
  };
  for (const auto& row : rows) {
    const std::string marked = mark + row.body;
    const Read plain = ReadBody(row.format, {.bytes = row.body, .streamed = row.streamed});
    const Read read = ReadBody(row.format, {.bytes = marked, .streamed = row.streamed});
    EXPECT_EQ(read.text, "ab") << row.name;
    EXPECT_EQ(read.events, plain.events) << row.name;
    EXPECT_EQ(read.answer, plain.answer) << row.name;
  }
}

TEST(BodyReaderTest, WhatOnlyBeginsLikeAMarkIsPartOfTheBody) {
  for (const std::string start : {"\xef", "\xef\xbb", "\xef{", "\xef\xbb{", "\xef\xbb\xbf\xef\xbb\xbf"}) {
    for (const char* format : {"ollama", "vllm-generate", "jetstream", "openai-completions"}) {
      const std::string body = start + "{\"response\":\"a\",\"done\":true}\n";
      const Read read = ReadBody(format, {.bytes = body});
      EXPECT_EQ(read.events, "") << format;
      EXPECT_NE(read.answer.find("error="), std::string::npos) << format << ' ' << read.answer;
    }
  }
}

TEST(BodyReaderTest, ServerSentEventsOfAFormatOfLinesAreAnotherServers) {
  const std::string event = "data: {\"text\":[\" a\"]}\n\n";
  for (const std::string& body :
       {event + event, ": ping\n\n" + event, event + "data: [DONE]\n\n", event.substr(0, event.size() - 1)}) {
    const Read read = ReadBody("vllm-generate", {.bytes = body});
    EXPECT_EQ(read.answer, "error=schema");
    EXPECT_EQ(read.events, "");
    EXPECT_EQ(read.error_text.substr(0, 47), "expected the framing nul, got server-sent event");
    EXPECT_NE(read.error_text.find("this looks like mii-generate"), std::string::npos) << read.error_text;
  }
  const Read told = ReadBody("ollama", {.bytes = "data: {\"error\":\"no\"}\n\n"});
  EXPECT_EQ(told.answer, "error=server_error_event");
  const Read wrapped = ReadBody("ollama", {.bytes = "data: {\"response\":\"a\",\"done\":true}\n\n"});
  EXPECT_EQ(wrapped.text, "a");  // nobody else's
}

}  // namespace
}  // namespace llmbench::wire
