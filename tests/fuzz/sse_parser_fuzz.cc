// Any slicing of any stream gives the events that a plain reading of the rules gives.
#include <string>
#include <vector>

#include "fuzz_input.h"
#include "llmbench/wire/sse_parser.h"

namespace llmbench::wire {
namespace {

constexpr size_t kMaxEvent = 1 << 20;

using Events = std::vector<std::string>;

void Feed(SseParser& parser, std::string_view input, Events& events) {
  SseEvent event;
  SseParser::Step step;
  while ((step = parser.Next(input, event)) == SseParser::Step::kEvent) {
    events.push_back((event.error ? "!" : "=") + std::string(event.payload));
  }
  if (step == SseParser::Step::kNeedMore) FUZZ_CHECK(input.empty());
}

void Finish(SseParser& parser, Events& events) {
  SseEvent event;
  if (parser.Finish(event) == SseParser::Step::kEvent)
    events.push_back("unfinished " + std::string(event.payload));
}

// The rules, line by line, with no regard to cost.
Events Plain(std::string_view stream) {
  std::vector<std::string> lines(1);
  for (size_t i = 0; i < stream.size(); ++i) {
    if (stream[i] == '\n' || stream[i] == '\r') {
      if (stream[i] == '\r' && i + 1 < stream.size() && stream[i + 1] == '\n') ++i;
      lines.emplace_back();
    } else {
      lines.back() += stream[i];
    }
  }
  if (lines[0].starts_with("\xef\xbb\xbf")) lines[0].erase(0, 3);
  Events events;
  std::string data;
  bool has_data = false, error = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    const bool last = i + 1 == lines.size();
    if (line.empty() && !last) {
      if (has_data) events.push_back((error ? "!" : "=") + data);
      data.clear();
      has_data = error = false;
      continue;
    }
    const size_t colon = line.find(':');
    const std::string name = line.substr(0, colon);
    std::string value = colon == std::string::npos ? "" : line.substr(colon + 1);
    if (value.starts_with(' ')) value.erase(0, 1);
    if (name != "data" && (name != "error" || colon == std::string::npos)) continue;
    error |= name == "error";
    data += (has_data ? "\n" : "") + value;
    has_data = true;
  }
  if (has_data) events.push_back("unfinished " + data);
  return events;
}

}  // namespace
}  // namespace llmbench::wire

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace llmbench::wire;
  if (size > kMaxEvent) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  SseParser parser(kMaxEvent);
  Events whole, sliced;
  const PaddedCopy copy(bytes);
  Feed(parser, copy.view(), whole);
  Finish(parser, whole);
  FUZZ_CHECK(whole == Plain(bytes));

  parser.Reset();
  ForEachSlice(bytes, [&](std::string_view slice) {
    Feed(parser, slice, sliced);
    return true;
  });
  Finish(parser, sliced);
  FUZZ_CHECK(whole == sliced);

  SseParser small(20);
  Events few;
  ForEachSlice(bytes, [&](std::string_view slice) {
    Feed(small, slice, few);
    return true;
  });
  for (const std::string& event : few) FUZZ_CHECK(event.size() <= 21);
  return 0;
}
