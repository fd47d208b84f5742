#include "llmbench/wire/guess_format.h"

#include <simdjson.h>

#include <algorithm>
#include <string>

#include "llmbench/wire/document_parser.h"
#include "llmbench/wire/json_token.h"
#include "llmbench/wire/named_formats.h"
#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {
namespace {

namespace dom = simdjson::dom;

// The part before the separator; both leave `rest`.
std::string_view TakeUntil(std::string_view& rest, std::string_view separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + separator.size(), rest.size()));
  return part;
}

bool TermHolds(std::string_view term, dom::element root) {
  const bool absent = term.starts_with('!');
  if (absent) term.remove_prefix(1);
  const std::string_view pointer = TakeUntil(term, "=");
  dom::element value;
  const bool there = root.at_pointer(pointer).get(value) == simdjson::SUCCESS;
  if (term.empty()) return there != absent;
  std::string_view text;
  return there && value.get(text) == simdjson::SUCCESS && text == term;
}

bool Matches(std::string_view signature, dom::element root) {
  while (!signature.empty()) {
    std::string_view terms = TakeUntil(signature, " | ");
    bool all = true;
    while (all && !terms.empty()) all = TermHolds(TakeUntil(terms, " "), root);
    if (all) return true;
  }
  return false;
}

// A stream of server-sent events, by how it begins.
bool IsSse(std::string_view bytes) {
  bytes = TrimSpace(bytes);
  for (const std::string_view field : {"data:", "event:", "id:", "retry:", ":"}) {
    if (bytes.starts_with(field)) return true;
  }
  return false;
}

// Whether the format's streams are JSON with other things between its events than server-sent events have.
bool FramesOtherwise(const NamedFormat& format) {
  const auto known = WireFormat::Named(format.name);
  return known.ok() && known->rules().framing != StreamFraming::kSse &&
         known->rules().framing != StreamFraming::kNone;
}

// The first JSON object or array of a body that says something; the views are into `padded`.
std::string_view FirstDocument(std::string_view padded) {
  std::string_view bytes = TrimSpace(padded);
  if (bytes.empty() || bytes[0] == '{' || bytes[0] == '[') return bytes;
  const size_t start = bytes.find_first_of("{[");
  return start == std::string_view::npos ? std::string_view() : bytes.substr(start);
}

}  // namespace

std::vector<std::string_view> GuessFormats(std::string_view bytes) {
  std::vector<std::string_view> names;
  std::string padded(bytes);
  padded.append(kPadding, '\0');
  std::string_view rest = FirstDocument(std::string_view(padded).substr(0, bytes.size()));
  DocumentParser documents(bytes.size());
  Frame frame;
  dom::parser parser;
  const bool sse = IsSse(bytes);
  // Not every document tells: a stream may open with a role, end with usage.
  for (int i = 0; i < 8 && names.empty(); ++i) {
    FrameStep step = documents.Next(rest, frame);
    if (step == FrameStep::kNeedMore) break;
    dom::element root;
    if (step != FrameStep::kEvent || parser.parse(frame.payload).get(root) != simdjson::SUCCESS) continue;
    for (const NamedFormat& format : NamedFormats()) {
      if (Matches(format.signature, root) && !(sse && FramesOtherwise(format))) names.push_back(format.name);
    }
  }
  return names;
}

std::string LooksLike(std::string_view bytes, std::string_view format) {
  constexpr size_t kMuch = 64 * 1024;  // for a guess
  if (bytes.size() > kMuch) return {};
  std::string text;
  for (const std::string_view name : GuessFormats(bytes)) {
    if (name == format) return {};
    text += text.empty() ? "; this looks like " : " or ";
    text += name;
  }
  return text;
}

}  // namespace llmbench::wire
