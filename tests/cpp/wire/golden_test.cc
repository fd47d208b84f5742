// The streams of tests/golden/wire, whole and in slices.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "feeding.h"
#include "llmbench/wire/http2_response_reader.h"
#include "llmbench/wire/response_reader.h"

namespace llmbench::wire {
namespace {

namespace dom = simdjson::dom;

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Everything a reader says of one answer, as text: two of these are the same or the difference is readable.
struct Observed {
  std::string events;
  std::string answer;
  std::string text;
  std::string error_text;
};

struct Golden {
  std::string name;
  std::string bytes;
  WireFormat format = WireFormat::OpenAiChat();
  std::string prompt;
  bool streamed = true;
  End end = End::kOpen;
  bool http2 = false;          // the bytes are the body of a stream of HTTP/2, and these are around them
  std::string head, trailers;  // "name: value\n" each
  Observed expected;
};

// gtest prints parameters with this.
std::ostream& operator<<(std::ostream& out, const Golden& golden) { return out << golden.name; }

std::string DescribeAnswer(int status, bool complete, bool keep_alive, bool http10, int64_t retry_after,
                           const std::string& error, const std::string& finish_reason,
                           const std::vector<int64_t>& counts, const std::vector<bool>& flags) {
  std::string text = "status " + std::to_string(status) + (complete ? " complete" : " incomplete") +
                     (keep_alive ? " keep-alive" : " close") + (http10 ? " HTTP/1.0" : "") + " retry-after " +
                     std::to_string(retry_after) + " error " + error + " finish " + finish_reason;
  static constexpr const char* kCounts[] = {"prompt", "cached", "output", "reasoning", "ids"};
  for (size_t i = 0; i < counts.size(); ++i)
    text += std::string(" ") + kCounts[i] + " " + std::to_string(counts[i]);
  static constexpr const char* kFlags[] = {"done", "done_order", "lone_surrogate", "unterminated",
                                           "not_streamed"};
  for (size_t i = 0; i < flags.size(); ++i) text += flags[i] ? std::string(" ") + kFlags[i] : "";
  return text;
}

std::vector<Golden> LoadAll() {
  std::vector<Golden> all;
  dom::parser parser;
  for (const auto& entry : std::filesystem::directory_iterator(LLMBENCH_GOLDEN_DIR "/wire")) {
    const bool http2 = entry.path().extension() == ".grpc";
    if (!http2 && entry.path().extension() != ".http") continue;
    std::filesystem::path path = entry.path();
    Golden golden;
    golden.name = path.stem().string();
    golden.bytes = ReadFile(path);
    const dom::object root = parser.load(path.replace_extension(".json").string());
    const auto flag = [](dom::object object, const char* key, bool absent) {
      bool value = absent;
      (void)!object[key].get(value);
      return value;
    };
    const auto count = [](dom::object object, const char* key, int64_t absent) {
      int64_t value = absent;
      (void)!object[key].get(value);
      return value;
    };
    const auto string = [](dom::object object, const char* key, std::string_view absent) {
      std::string_view value = absent;
      (void)!object[key].get(value);
      return std::string(value);
    };
    const std::string end = string(root, "close", "open");
    const std::string format = string(root, "format", "");
    dom::element rules;
    const auto named =
        WireFormat::Named(format, root["rules"].get(rules) ? std::string() : simdjson::minify(rules));
    if (!named.ok()) {
      ADD_FAILURE() << golden.name << ": format " << format << ": " << named.status();
      continue;
    }
    golden.format = *named;
    golden.prompt = string(root, "prompt", "");
    golden.http2 = http2;
    for (const auto& [key, fields] :
         {std::pair<const char*, std::string*>{"head", &golden.head}, {"trailers", &golden.trailers}}) {
      dom::array pairs;
      if (root[key].get(pairs)) continue;
      for (const dom::array field : pairs) {
        const std::string_view name = field.at(0), value = field.at(1);
        *fields += std::string(name) + ": " + std::string(value) + "\n";
      }
    }
    golden.streamed = flag(root, "streamed", true);
    golden.end = end == "open" ? End::kOpen : end == "fin" ? End::kClosed : End::kReset;

    std::vector<std::string> events;
    for (const dom::object event : root["events"].get_array()) {
      const int64_t tokens = count(event, "tokens", 0);
      events.push_back(string(event, "kind", "") + (tokens > 0 ? ":" + std::to_string(tokens) : ""));
    }
    for (const std::string& event : events) {
      golden.expected.events += (golden.expected.events.empty() ? "" : " ") + event;
    }
    const dom::object answer = root["answer"];
    const std::string error = string(answer, "error", "none");
    golden.expected.answer =
        DescribeAnswer(static_cast<int>(count(root, "status", 200)), flag(root, "complete", true),
                       flag(root, "keep_alive", true), flag(root, "http10", false),
                       count(root, "retry_after_s", -1), error, string(answer, "finish_reason", ""),
                       {count(answer, "prompt_tokens", -1), count(answer, "cached_tokens", -1),
                        count(answer, "output_tokens", -1), count(answer, "reasoning_tokens", -1),
                        count(answer, "token_ids", -1)},
                       {flag(answer, "done", false), flag(answer, "done_order", false),
                        flag(answer, "lone_surrogate", false), flag(answer, "unterminated", false),
                        flag(answer, "not_streamed", false)});
    golden.expected.text = string(answer, "text", "");
    golden.expected.error_text = string(answer, "error_text", error == "none" ? "" : "*");
    all.push_back(std::move(golden));
  }
  std::sort(all.begin(), all.end(), [](const Golden& a, const Golden& b) { return a.name < b.name; });
  return all;
}

const std::vector<Golden>& All() {
  static const std::vector<Golden> all = LoadAll();
  return all;
}

class GoldenTest : public testing::TestWithParam<Golden> {
 protected:
  // Reads the stream in slices that end at `cuts`, ascending positions.
  Observed Read(const std::vector<size_t>& cuts) {
    const Golden& golden = GetParam();
    std::string text;
    Outcome outcome;
    reader_->Start(golden.streamed, &text, golden.prompt);
    Give(Piece::kHeaders, golden.head, outcome);
    size_t from = 0;
    for (const size_t cut : cuts) {
      Give(Piece::kBody, std::string_view(golden.bytes).substr(from, cut - from), outcome);
      from = cut;
    }
    Give(Piece::kBody, std::string_view(golden.bytes).substr(from), outcome);
    if (!golden.trailers.empty()) Give(Piece::kHeaders, golden.trailers, outcome);
    Give(Piece::kEnd, {}, outcome);
    if (golden.end != End::kOpen) reader_->Close(golden.end == End::kReset, outcome);
    const Answer& a = reader_->answer();
    return {
        Describe(outcome.events),
        DescribeAnswer(reader_->status(), reader_->complete(), reader_->keep_alive(), reader_->http10(),
                       reader_->retry_after_s(), Name(a.error), a.finish_reason,
                       {a.prompt_tokens, a.cached_tokens, a.output_tokens, a.reasoning_tokens, a.token_ids},
                       {a.done, a.done_order, a.lone_surrogate, a.unterminated, a.not_streamed}),
        text, a.error_text};
  }

  void Expect(const Observed& observed, const std::string& how) {
    const Observed& expected = GetParam().expected;
    EXPECT_EQ(observed.events, expected.events) << how;
    EXPECT_EQ(observed.answer, expected.answer) << how << "; " << observed.error_text;
    EXPECT_EQ(observed.text, expected.text) << how;
    if (expected.error_text == "*") {
      EXPECT_NE(observed.error_text, "") << how;
    } else {
      EXPECT_EQ(observed.error_text, expected.error_text) << how;
    }
  }

  using Piece = Http2ResponseReader::Piece;

  // HTTP/1.1 has its fields and its end among its bytes.
  void Give(Piece piece, std::string_view bytes, Outcome& outcome) {
    if (!GetParam().http2) {
      if (piece == Piece::kBody) FeedBytes(*reader_, bytes, outcome);
      return;
    }
    if (piece == Piece::kBody && bytes.empty()) return;
    static_cast<Http2ResponseReader&>(*reader_).Expect(piece);
    FeedBytes(*reader_, bytes, outcome);
  }

  static std::unique_ptr<ResponseReader> MakeReader(const Golden& golden) {
    if (golden.http2) return std::make_unique<Http2ResponseReader>(golden.format, MakeJsonScratch());
    return MakeResponseReader(golden.format, MakeJsonScratch());
  }

  // One reader for all slicings, as one connection serves many answers.
  const std::unique_ptr<ResponseReader> reader_ = MakeReader(GetParam());
};

TEST_P(GoldenTest, AnySlicing) {
  const size_t size = GetParam().bytes.size();
  Expect(Read({}), "whole");
  for (size_t cut = 1; cut < size && !HasFailure(); ++cut)
    Expect(Read({cut}), "cut at " + std::to_string(cut));

  std::vector<size_t> every;
  for (size_t cut = 1; cut < size; ++cut) every.push_back(cut);
  Expect(Read(every), "byte by byte");

  std::mt19937 random(20251123);
  for (int round = 0; round < 300 && !HasFailure(); ++round) {
    std::geometric_distribution<size_t> length(1.0 / (1 << round % 9));
    std::vector<size_t> cuts;
    for (size_t cut = 1 + length(random); cut < size; cut += 1 + length(random)) cuts.push_back(cut);
    Expect(Read(cuts), "random slices, round " + std::to_string(round));
  }
}

// Nothing of one answer shows in the next one on its connection.
TEST_P(GoldenTest, AfterAnyOther) {
  for (const Golden& before : All()) {
    if (before.http2 != GetParam().http2) continue;
    for (const size_t size : {before.bytes.size(), before.bytes.size() / 2}) {
      std::string text;
      Outcome ignored;
      reader_->Start(before.streamed, &text, before.prompt);
      Give(Piece::kHeaders, before.head, ignored);
      Give(Piece::kBody, std::string_view(before.bytes).substr(0, size), ignored);
      Expect(Read({}), "after " + before.name);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Streams, GoldenTest, testing::ValuesIn(All()),
                         [](const auto& golden) { return golden.param.name; });

}  // namespace
}  // namespace llmbench::wire
