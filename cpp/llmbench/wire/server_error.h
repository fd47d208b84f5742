// What a server says went wrong, from the JSON it says it in.
#pragma once

#include <string>
#include <string_view>

#include "llmbench/wire/stream_decoder.h"

namespace llmbench::wire {

// The message of an error document, with code and type where given: {"error": "…"}, {"error": {"message",
// "code", "type"}}, the same keys without the outer object, {"error": "…", "error_type": "…"}, or
// {"detail": "…" | [{"loc", "msg"}, …]}. "" when
// it is none of these or no JSON. `body` has kPadding readable bytes after it.
std::string ServerErrorMessage(JsonScratch& scratch, std::string_view body);

// The same of a document whose error is at a JSON pointer: a string, or an object like those above.
std::string ServerErrorMessageAt(JsonScratch& scratch, std::string_view body, std::string_view pointer);

// An answer ends with this error event: with its message, or the whole of it where it has none.
void FailWithServerError(JsonScratch& scratch, std::string_view event, Answer& answer);

}  // namespace llmbench::wire
