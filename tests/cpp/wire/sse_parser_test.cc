#include "llmbench/wire/sse_parser.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "feeding.h"
#include "llmbench/wire/escape.h"

namespace llmbench::wire {
namespace {

constexpr size_t kNoLimit = 1 << 20;

// Payloads of the events, error events with a "!" before them; "TOO LARGE" ends the list.
using Events = std::vector<std::string>;

// False when the parser has had enough.
bool Feed(SseParser& parser, std::string_view bytes, Events& events) {
  bool more = true;
  WithPadding(bytes, [&](std::string_view input) {
    for (SseEvent event;;) {
      const auto step = parser.Next(input, event);
      if (step == SseParser::Step::kNeedMore) {
        EXPECT_EQ(input, "");
        return;
      }
      if (step == SseParser::Step::kTooLarge) {
        events.emplace_back("TOO LARGE");
        more = false;
        return;
      }
      events.push_back((event.error ? "!" : "") + std::string(event.payload));
    }
  });
  return more;
}

struct Row {
  const char* name;
  std::string stream;
  Events events;
  std::string unfinished = {};  // what Finish hands out, "" for nothing
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

class SseParserRows : public testing::TestWithParam<Row> {};

TEST_P(SseParserRows, InAnySlicing) {
  const Row& row = GetParam();
  SseParser parser(kNoLimit);
  InEverySlicing(row.stream, [&](const std::vector<std::string_view>& slices) {
    parser.Reset();
    Events events;
    for (const std::string_view slice : slices) Feed(parser, slice, events);
    EXPECT_EQ(events, row.events);
    SseEvent event;
    const bool unfinished = parser.Finish(event) == SseParser::Step::kEvent;
    EXPECT_EQ(unfinished ? std::string(event.payload) : "", row.unfinished);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Sse, SseParserRows,
    testing::Values(
        Row{"lf", "data: a\n\ndata: b\n\n", {"a", "b"}},
        Row{"crlf", "data: a\r\n\r\ndata: b\r\n\r\n", {"a", "b"}},
        Row{"cr", "data: a\r\rdata: b\r\r", {"a", "b"}},
        Row{"mixed_ends",
            "data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\r\r\ndata: e\n\r",
            {"a", "b", "c", "d", "e"}},
        Row{"cr_lf_is_one_end", "data: a\r\ndata: b\r\n\r\n", {"a\nb"}},
        Row{"one_space_is_stripped", "data:a\n\ndata:  b\n\ndata:\tc\n\n", {"a", " b", "\tc"}},
        Row{"several_lines_are_joined", "data: a\ndata\ndata:\ndata: b\n\n", {"a\n\n\nb"}},
        Row{"no_data_no_event", "\n\n\nevent: x\n\nid: 1\n\n", {}},
        Row{"empty_data_is_an_event", "data\n\ndata:\n\ndata: \n\n", {"", "", ""}},
        Row{"other_fields", "event: e\nid: 1\nretry: 5\nfoo: bar\nfoo\n:\ndata: a\nevent: f\n\n", {"a"}},
        Row{"names_must_match", "dat: a\ndata2: b\nDATA: c\n data: d\nd\n\n", {}},
        Row{"comments", ": ping\n\n:\n\n:a\ndata: b\n: c\n\n", {"b"}},
        Row{"bom_opens_the_stream",
            "\xef\xbb\xbf"
            "data: a\n\n",
            {"a"}},
        Row{"bom_only_once",
            "\xef\xbb\xbf"
            "data: a\n\n\xef\xbb\xbf"
            "data: b\n\n",
            {"a"}},
        Row{"bom_and_nothing_else_in_its_line", "\xef\xbb\xbf\ndata: a\n\n", {"a"}},
        Row{"colons_in_the_value", "data: a:b: c\n\n", {"a:b: c"}},
        Row{"unicode_line_ends_are_ordinary",
            "data: a\u2028b\u2029c\u0085"
            "d\v\f\n\n",
            {"a\u2028b\u2029c\u0085"
             "d\v\f"}},
        Row{"nul_is_ordinary", std::string("data: a\0b\n\n", 11), {std::string("a\0b", 3)}},
        Row{"error_field", "error: {\"code\":1}\n\ndata: a\n\n", {"!{\"code\":1}", "a"}},
        Row{"error_beside_data", "data: a\nerror: b\n\n", {"!a\nb"}},
        Row{"error_without_colon", "error\n\n", {}},
        Row{"long_values",
            "data: " + std::string(9000, 'x') + "\n\ndata: y\r\n\r\n",
            {std::string(9000, 'x'), "y"}},
        Row{"no_empty_line", "data: a\n\ndata: b\n", {"a"}, "b"},
        Row{"no_line_end", "data: a\n\ndata: b", {"a"}, "b"},
        Row{"two_lines_no_empty_line", "data: a\ndata: b", {}, "a\nb"},
        Row{"cr_at_the_end", "data: a\r", {}, "a"}, Row{"half_a_field_name", "dat", {}},
        Row{"comment_at_the_end", "data: a\n\n: b", {"a"}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(SseParserTest, WholeEventsAreViewsOfTheInput) {
  const std::string stream = "data: first\n\ndata:second\r\n\r\n: c\n\ndata: third\n\n";
  SseParser parser(kNoLimit);
  WithPadding(stream, [&](std::string_view whole) {
    std::string_view input = whole;
    SseEvent event;
    for (const char* payload : {"first", "second"}) {
      ASSERT_EQ(parser.Next(input, event), SseParser::Step::kEvent);
      EXPECT_EQ(event.payload, payload);
      EXPECT_EQ(event.payload.data(), whole.data() + whole.find(payload));
    }
  });
}

TEST(SseParserTest, TooLarge) {
  const struct {
    const char* name;
    std::string stream;
    Events events;
  } rows[] = {
      {"a line at the limit", "data:" + std::string(95, 'x') + "\n\n", {std::string(95, 'x')}},
      {"a line over it", "data:" + std::string(96, 'x') + "\n\ndata: b\n\n", {"TOO LARGE"}},
      {"an endless line", std::string(1000, 'x'), {"TOO LARGE"}},
      {"an endless comment", ":" + std::string(1000, 'x'), {"TOO LARGE"}},
      {"many lines",
       "data: " + std::string(60, 'x') + "\ndata: " + std::string(60, 'x') + "\n\n",
       {"TOO LARGE"}},
      {"many comments", std::string(50, ':') + "\n" + std::string(90, ':') + "\ndata: a\n\n", {"a"}},
  };
  SseParser parser(100);
  for (const auto& row : rows) {
    for (const size_t slice : {row.stream.size(), size_t{1}, size_t{13}}) {
      SCOPED_TRACE(std::string(row.name) + " in slices of " + std::to_string(slice));
      parser.Reset();
      Events events;
      for (size_t at = 0; at < row.stream.size(); at += slice) {
        if (!Feed(parser, row.stream.substr(at, slice), events)) break;
      }
      EXPECT_EQ(events, row.events);
    }
  }
}

TEST(SseParserTest, Begun) {
  const struct {
    const char* stream;
    bool begun;
  } rows[] = {
      {"", false},
      {"d", true},
      {"data: a", true},
      {"data: a\n", true},
      {"data: a\n\n", false},
      {"data: a\r\n\r", false},
      {"data: a\n\nd", true},
      {"data: a\n\n: ping", false},
      {"data: a\n\n: ping\n", false},
      {"\n\n", false},
      {"event: x\n", false},
  };
  for (const auto& row : rows) {
    SseParser parser(kNoLimit);
    Events events;
    Feed(parser, row.stream, events);
    EXPECT_EQ(parser.begun(), row.begun) << Quote(row.stream);
  }
}

}  // namespace
}  // namespace llmbench::wire
