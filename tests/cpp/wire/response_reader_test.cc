#include "llmbench/wire/response_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "allocation_counter.h"
#include "feeding.h"

namespace llmbench::wire {
namespace {

constexpr std::string_view kStream =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
constexpr std::string_view kToClose = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
constexpr std::string_view kEnd = "0\r\n\r\n";

std::string Chunk(const std::string& body) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", body.size());
  return size + body + "\r\n";
}

std::string Event(const std::string& payload) { return "data: " + payload + "\n\n"; }
std::string Text(const std::string& text) {
  return Event(R"({"choices":[{"index":0,"text":")" + text + R"("}]})");
}
const std::string kFinish = Event(R"({"choices":[{"index":0,"text":"","finish_reason":"stop"}]})");
const std::string kUsage = Event(R"({"choices":[],"usage":{"completion_tokens":3}})");
const std::string kDone = Event("[DONE]");

std::string Stream(const std::string& body) { return std::string(kStream) + Chunk(body) + std::string(kEnd); }

std::unique_ptr<ResponseReader> Reader(ReaderLimits limits = {}) {
  return MakeResponseReader(WireFormat::OpenAiCompletions(), MakeJsonScratch(), limits);
}

TEST(ResponseReaderTest, HowAnAnswerEnds) {
  const std::string stream(kStream), to_close(kToClose);
  const struct {
    const char* name;
    std::string bytes;
    End end;
    WireError error;
    bool complete;
    int events = 0;
    bool keep_alive = false;
  } rows[] = {
      {"closed before a byte", "", End::kClosed, WireError::kEmptyReply, false},
      {"reset before a byte", "", End::kReset, WireError::kResetBeforeHeaders, false},
      {"closed in the header", "HTTP/1.1 200 OK\r\nCont", End::kClosed, WireError::kTruncated, false},
      {"closed in a wrong header", "HTTP/1.1 2x0 OK\r\n", End::kClosed, WireError::kProtocol, false},
      {"reset in the header", "HTTP/1.1 200 OK\r\nCont", End::kReset, WireError::kResetBeforeHeaders, false},
      {"closed after 100", "HTTP/1.1 100 Continue\r\n\r\n", End::kClosed, WireError::kTruncated, false},
      {"reset after 100", "HTTP/1.1 100 Continue\r\n\r\n", End::kReset, WireError::kResetBeforeHeaders,
       false},
      {"closed after the header", stream, End::kClosed, WireError::kTruncated, false},
      {"closed in a chunk", stream + "fff\r\n" + Text("a"), End::kClosed, WireError::kTruncated, false, 1},
      {"closed without the last chunk", stream + Chunk(Text("a") + kFinish + kDone), End::kClosed,
       WireError::kTruncated, false, 1},
      {"reset in a chunk", stream + "fff\r\n" + Text("a"), End::kReset, WireError::kResetMidStream, false, 1},
      {"reset in a body to be read to its end", to_close + Text("a"), End::kReset, WireError::kResetMidStream,
       false, 1},
      {"length not reached", "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + Text("a"), End::kClosed,
       WireError::kTruncated, false, 1},
      {"read to its end", to_close + Text("a") + kFinish + kDone, End::kClosed, WireError::kNone, true, 1},
      {"read to its end, no [DONE]", to_close + Text("a") + kFinish, End::kClosed, WireError::kNone, true, 1},
      {"read to its end, neither", to_close + Text("a"), End::kClosed, WireError::kTruncatedNoDone, true, 1},
      {"chunked, neither", Stream(Text("a")), End::kOpen, WireError::kTruncatedNoDone, true, 1, true},
      {"only usage, neither", Stream(kUsage), End::kOpen, WireError::kTruncatedNoDone, true, 0, true},
      {"chunked", Stream(Text("a") + kFinish + kDone), End::kOpen, WireError::kNone, true, 1, true},
      {"chunked, then closed", Stream(Text("a") + kFinish + kDone), End::kClosed, WireError::kNone, true, 1},
      {"chunked, then reset", Stream(Text("a") + kFinish + kDone), End::kReset, WireError::kNone, true, 1},
      {"[DONE] without output", Stream(kDone), End::kOpen, WireError::kEmptyStream, true, 0, true},
      {"finished without output", Stream(kFinish + kDone), End::kOpen, WireError::kNone, true, 0, true},
      {"usage without output", Stream(kUsage + kDone), End::kOpen, WireError::kNone, true, 0, true},
      {"no event", Stream(": ping\n\n"), End::kOpen, WireError::kEmptyStream, true, 0, true},
      {"only space", Stream("\r\n  \n"), End::kOpen, WireError::kEmptyStream, true, 0, true},
      {"empty chunked", stream + std::string(kEnd), End::kOpen, WireError::kEmptyStream, true, 0, true},
      {"empty to close", to_close, End::kClosed, WireError::kEmptyStream, true},
      {"error status, closed in its body", "HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\n{}", End::kClosed,
       WireError::kHttpStatus, false},
      {"error status, reset in its body", "HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\n{}", End::kReset,
       WireError::kHttpStatus, false},
      {"error status to close", "HTTP/1.1 500 Oh\r\n\r\nsorry", End::kClosed, WireError::kHttpStatus, true},
      {"document cut", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"choices\":", End::kClosed,
       WireError::kTruncated, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto reader = Reader();
    EXPECT_FALSE(reader->any_bytes());
    const Outcome outcome = ReadAnswer(*reader, row.bytes, row.end);
    EXPECT_EQ(Name(reader->answer().error), Name(row.error)) << reader->answer().error_text;
    EXPECT_EQ(reader->answer().error_text.empty(), row.error == WireError::kNone)
        << reader->answer().error_text;
    EXPECT_EQ(reader->complete(), row.complete);
    EXPECT_EQ(outcome.events.size(), static_cast<size_t>(row.events));
    EXPECT_EQ(reader->keep_alive(), row.keep_alive);
    EXPECT_EQ(reader->any_bytes(), !row.bytes.empty());
  }
}

TEST(ResponseReaderTest, WhatKindOfBodyItIs) {
  const struct {
    const char* name;
    const char* header;
    std::string body;
    bool streamed;
    WireError error;
    bool not_streamed = false;
  } rows[] = {
      {"events", "Content-Type: text/event-stream\r\n", Text("a") + kDone, true, WireError::kNone},
      {"events of no type", "", Text("a") + kDone, true, WireError::kNone},
      {"events said to be JSON", "Content-Type: application/json\r\n", Text("a") + kDone, true,
       WireError::kNone},
      {"events though not asked for", "Content-Type: text/event-stream\r\n", Text("a") + kDone, false,
       WireError::kNone},
      {"events said to be HTML", "Content-Type: text/html\r\n", Text("a") + kDone, true,
       WireError::kContentType},
      {"events after a comment", "", ": hello\n\n" + Text("a") + kDone, true, WireError::kNone},
      {"events after empty lines", "", "\n\r\n" + Text("a") + kDone, true, WireError::kNone},
      {"JSON", "Content-Type: application/json\r\n", R"({"choices":[{"text":"a"}]})", false, WireError::kNone,
       true},
      {"JSON though a stream was asked for", "", R"(  {"choices":[{"text":"a"}]})", true, WireError::kNone,
       true},
      {"JSON said to be events", "Content-Type: text/event-stream\r\n", R"({"choices":[{"text":"a"}]})", true,
       WireError::kNone, true},
      {"a JSON array", "", "[1]", true, WireError::kSchema, true},
      {"broken JSON", "", "{oh", true, WireError::kBadEvent, true},
      {"HTML", "Content-Type: text/html; charset=utf-8\r\n", "<html>", true, WireError::kContentType},
      {"HTML of no type", "", "\n<!doctype html>", false, WireError::kContentType},
      {"plain text", "Content-Type: text/plain\r\n", "Welcome", true, WireError::kContentType},
      {"plain text that begins as events do", "Content-Type: text/plain\r\n", "internal error", true,
       WireError::kContentType},
      {"nonsense said to be events", "Content-Type: text/event-stream\r\n", "Welcome\n\n", true,
       WireError::kEmptyStream},
      {"encoded", "Content-Encoding: gzip\r\n", "\x1f\x8b", true, WireError::kContentEncoding},
      {"broken encoding", "Content-Encoding: br\r\n", "{", true, WireError::kContentEncoding},
      {"identity", "Content-Encoding: identity\r\n", Text("a") + kDone, true, WireError::kNone},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto reader = Reader();
    const Outcome outcome = ReadAnswer(*reader,
                                       "HTTP/1.1 200 OK\r\n" + std::string(row.header) + "Content-Length: " +
                                           std::to_string(row.body.size()) + "\r\n\r\n" + row.body,
                                       End::kOpen, row.streamed);
    EXPECT_EQ(Name(reader->answer().error), Name(row.error)) << reader->answer().error_text;
    EXPECT_EQ(reader->answer().not_streamed, row.not_streamed);
    EXPECT_EQ(outcome.events.size(), row.error == WireError::kNone && !row.not_streamed ? 1u : 0u);
    EXPECT_TRUE(reader->complete());
    EXPECT_TRUE(reader->keep_alive());
  }
}

TEST(ResponseReaderTest, StatusAnswers) {
  const std::string long_message(3000, 'x');
  const struct {
    const char* head;
    std::string body;
    WireError error;
    int status;
    std::string text;
  } rows[] = {
      {"404 Not Found", R"({"detail":"Not Found"})", WireError::kHttpStatus, 404, "Not Found"},
      {"400 Bad", R"({"error":{"message":")" + long_message + "\"}}", WireError::kHttpStatus, 400,
       long_message.substr(0, 512)},
      {"500 Oh", "<b>\r\n" + long_message, WireError::kHttpStatus, 500,
       "<b>  " + long_message.substr(0, 507)},
      {"500 Oh", "é" + std::string(510, 'x') + "é", WireError::kHttpStatus, 500, "é" + std::string(510, 'x')},
      {"500 Oh\r\nContent-Encoding: gzip", "\x1f\x8b", WireError::kHttpStatus, 500, "body encoded as gzip"},
      {"422 No", R"({"detail":[{"loc":["body"],"msg":"m","input":")" + std::string(20'000, 'x') + "\"}]}",
       WireError::kHttpStatus, 422, "body: m"},
      {"999 Odd", "", WireError::kHttpStatus, 999, ""},
      {"301 Moved\r\nLocation: https://other/", "", WireError::kRedirect, 301,
       "status 301, Location https://other/"},
      {"308 Moved", "<html>", WireError::kRedirect, 308, "status 308, no Location"},
  };
  for (const auto& row : rows) {
    const auto reader = Reader();
    ReadAnswer(*reader, "HTTP/1.1 " + std::string(row.head) +
                            "\r\nContent-Length: " + std::to_string(row.body.size()) + "\r\n\r\n" + row.body);
    EXPECT_EQ(Name(reader->answer().error), Name(row.error)) << row.head;
    EXPECT_EQ(reader->status(), row.status);
    EXPECT_EQ(reader->answer().error_text, row.text);
    EXPECT_TRUE(reader->keep_alive()) << row.head;
  }
}

TEST(ResponseReaderTest, AnErrorStatusFailsWhenItsBodyIsComplete) {
  const auto reader = Reader();
  Outcome outcome;
  reader->Start(true, nullptr);
  FeedBytes(*reader, "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 20\r\n\r\n{\"error\":", outcome);
  EXPECT_TRUE(outcome.good);
  EXPECT_EQ(reader->status(), 503);
  FeedBytes(*reader, "\"loading\" }", outcome);
  EXPECT_FALSE(outcome.good);
  EXPECT_TRUE(reader->complete());
  EXPECT_EQ(reader->answer().error_text, "loading");
  EXPECT_EQ(reader->retry_after_s(), 3);
}

// After a failure the rest of the body is framed, so that its connection may serve again.
TEST(ResponseReaderTest, TheRestOfAFailedAnswerIsReadPast) {
  const std::string failed[] = {Event("{broken"), Event(R"({"error":"no"})"), Event("{}"),
                                Event("{\"\xff\"}")};
  for (const std::string& event : failed) {
    const auto reader = Reader();
    Outcome outcome;
    reader->Start(true, nullptr);
    FeedBytes(*reader, std::string(kStream) + Chunk(Text("a") + event + Text("b")), outcome);
    EXPECT_FALSE(outcome.good);
    EXPECT_FALSE(reader->complete());
    EXPECT_FALSE(reader->keep_alive());
    const Answer before = reader->answer();
    FeedBytes(*reader, Chunk(Text("c") + kUsage + kDone) + std::string(kEnd), outcome);
    EXPECT_FALSE(outcome.good);
    EXPECT_TRUE(reader->complete());
    EXPECT_TRUE(reader->keep_alive());
    EXPECT_EQ(outcome.events.size(), 1u);
    EXPECT_EQ(Name(reader->answer().error), Name(before.error));
    EXPECT_EQ(reader->answer().error_text, before.error_text);
    EXPECT_EQ(reader->answer().output_tokens, -1);
    EXPECT_FALSE(reader->answer().done);
  }
}

TEST(ResponseReaderTest, BytesBehindTheAnswer) {
  const auto reader = Reader();
  Outcome outcome = ReadAnswer(*reader, Stream(Text("a") + kDone));
  EXPECT_TRUE(reader->keep_alive());
  FeedBytes(*reader, Stream(Text("b") + kDone), outcome);
  EXPECT_TRUE(outcome.good);
  EXPECT_FALSE(reader->keep_alive());
  EXPECT_EQ(outcome.events.size(), 1u);
  EXPECT_EQ(Name(reader->answer().error), Name(WireError::kNone));
}

TEST(ResponseReaderTest, EventBegun) {
  const std::string header(kStream), event = Chunk(Text("a"));
  const struct {
    std::string bytes;
    bool begun;
  } rows[] = {
      {"HTTP/1.1 200 OK\r\n", false},
      {header, false},
      {header + event, false},
      {header + event.substr(0, event.size() - 2), false},  // its CRLF is still to come
      {header + event.substr(0, event.size() - 3), true},   // its empty line is
      {header + event.substr(0, 20), true},
      {header + event + "2", true},
      {header + event + "2e\r\n", true},
      {header + event + "2e\r\nd", true},
      {header + event + Chunk(": ping"), false},
      {header + event + Chunk(": ping\n\n"), false},
      {header + event + "0\r\n", false},
      {header + event + "0\r\n\r\n", false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"choices\":", false},
      {"HTTP/1.1 500 Oh\r\nContent-Length: 50\r\n\r\ndata: ", false},
      {header + Chunk(Event("{broken")) + "2e\r\nd", false},
  };
  for (const auto& row : rows) {
    const auto reader = Reader();
    ReadAnswer(*reader, row.bytes);
    EXPECT_EQ(reader->event_begun(), row.begun) << row.bytes;
  }
}

TEST(ResponseReaderTest, LargeEvents) {
  const size_t limit = 16 << 20;
  const std::string big = Text(std::string(10 << 20, 'x'));
  const struct {
    const char* name;
    std::string bytes;
    WireError error;
  } rows[] = {
      {"10 MiB", Stream(big + kFinish), WireError::kNone},
      {"over the limit", Stream(Text(std::string(limit, 'x')) + kFinish), WireError::kEventTooLarge},
      {"an endless line", std::string(kToClose) + "data: " + std::string(limit + 1, 'x'),
       WireError::kEventTooLarge},
      {"an endless document", std::string(kToClose) + "{" + std::string(limit + 1, 'x'),
       WireError::kEventTooLarge},
  };
  const auto reader = Reader({.max_event_bytes = limit});
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Outcome outcome;
    reader->Start(true, nullptr);
    for (size_t at = 0; at < row.bytes.size() && outcome.good; at += 1 << 18) {
      FeedBytes(*reader, std::string_view(row.bytes).substr(at, 1 << 18), outcome);
    }
    EXPECT_EQ(Name(reader->answer().error), Name(row.error)) << reader->answer().error_text;
  }
}

TEST(ResponseReaderTest, HeaderLimitIsTheLimitsOwn) {
  const auto reader = Reader({.max_header_bytes = 100});
  ReadAnswer(*reader, "HTTP/1.1 200 OK\r\nX: " + std::string(100, 'x') + "\r\n\r\n");
  EXPECT_EQ(Name(reader->answer().error), Name(WireError::kHeaderTooLarge));
  EXPECT_TRUE(reader->answer().error_text.starts_with(
      "the response header is larger than 100 bytes: \"HTTP/1.1 200 OK"));
}

class NoSink : public EventSink {
 public:
  void OnOutput(const StreamEvent&) override { ++events; }
  int events = 0;
};

// Once the buffers of a connection have their size, neither events nor whole answers allocate, however they
// are sliced.
TEST(ResponseReaderTest, NothingIsAllocatedPerEventOrPerAnswer) {
  const auto reader = Reader();
  std::string answer(kStream);
  constexpr int kEvents = 200;
  for (int i = 0; i < kEvents; ++i) answer += Chunk(Text(" token") + ": ping\n\n");
  answer += Chunk(kFinish + kUsage + kDone) + std::string(kEnd);
  const size_t size = answer.size();
  answer.append(kPadding, '\0');

  NoSink sink;
  const auto read = [&](size_t slice) {
    // The caller's buffer is its own affair: slices are made in place, their padding being what follows.
    reader->Start(true, nullptr);
    for (size_t at = 0; at < size; at += slice)
      reader->Feed(answer.data() + at, std::min(slice, size - at), sink);
  };
  const size_t slices[] = {size, 4096, 100, 7, 1};
  for (const size_t slice : slices) read(slice);
  for (const size_t slice : slices) {
    sink.events = 0;
    const long before = Allocations();
    read(slice);
    EXPECT_EQ(Allocations() - before, 0) << "in slices of " << slice;
    EXPECT_TRUE(reader->complete());
    EXPECT_TRUE(reader->answer().done);
    EXPECT_EQ(sink.events, kEvents);
  }
}

}  // namespace
}  // namespace llmbench::wire
