#include "llmbench/wire/server_error.h"

#include "llmbench/wire/json_scratch.h"

namespace llmbench::wire {
namespace {

namespace dom = simdjson::dom;

// A string as it is, null as nothing, anything else as JSON.
std::string Plain(dom::element value) {
  std::string_view text;
  if (value.is_null()) return {};
  if (value.get(text) == simdjson::SUCCESS) return std::string(text);
  return simdjson::minify(value);
}

std::string Plain(dom::object object, std::string_view key) {
  dom::element value;
  return object[key].get(value) == simdjson::SUCCESS ? Plain(value) : std::string();
}

std::string FromObject(dom::object object) {
  std::string text = Plain(object, "message");
  if (text.empty()) text = Plain(object, "msg");
  std::string notes;
  for (const char* key : {"code", "status_code", "type"}) {
    if (const std::string value = Plain(object, key); !value.empty()) {
      notes += notes.empty() ? "" : ", ";
      notes += key;
      notes += ' ';
      notes += value;
    }
  }
  if (text.empty()) text = notes.empty() ? simdjson::minify(object) : "no message";
  return notes.empty() ? text : text + " (" + notes + ")";
}

// FastAPI's validation errors: [{"loc": ["body", "max_tokens"], "msg": "…"}, …].
std::string FromDetails(dom::array details) {
  std::string text;
  for (const dom::element detail : details) {
    dom::object object;
    std::string one;
    if (detail.get(object) == simdjson::SUCCESS) {
      dom::array location;
      if (object["loc"].get(location) == simdjson::SUCCESS) {
        for (const dom::element part : location) {
          one += one.empty() ? "" : ".";
          one += Plain(part);
        }
      }
      const std::string message = Plain(object, "msg");
      one += one.empty() ? "" : ": ";
      one += message.empty() ? Plain(detail) : message;
    } else {
      one = Plain(detail);
    }
    text += text.empty() ? "" : "; ";
    text += one;
  }
  return text;
}

std::string FromValue(dom::element value) {
  dom::object object;
  dom::array array;
  if (value.get(object) == simdjson::SUCCESS) return FromObject(object);
  if (value.get(array) == simdjson::SUCCESS) return FromDetails(array);
  return Plain(value);
}

}  // namespace

std::string ServerErrorMessage(JsonScratch& scratch, std::string_view body) {
  dom::element root;
  dom::object object;
  if (body.empty() || scratch.Parse(body, root) != simdjson::SUCCESS) return {};
  if (root.get(object) != simdjson::SUCCESS) {
    std::string_view text;
    return root.get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
  }
  for (const char* key : {"error", "detail"}) {
    dom::element value;
    if (object[key].get(value) != simdjson::SUCCESS || value.is_null()) continue;
    const std::string type = value.is_string() ? Plain(object, "error_type") : std::string();
    return type.empty() ? FromValue(value) : Plain(value) + " (type " + type + ")";
  }
  dom::element message;
  return object["message"].get(message) == simdjson::SUCCESS ? FromObject(object) : std::string();
}

std::string ServerErrorMessageAt(JsonScratch& scratch, std::string_view body, std::string_view pointer) {
  dom::element root, value;
  if (scratch.Parse(body, root) != simdjson::SUCCESS) return {};
  if (pointer != "/error" && root.at_pointer(pointer).get(value) == simdjson::SUCCESS && !value.is_string()) {
    return FromValue(value);
  }
  if (const std::string message = ServerErrorMessage(scratch, body); !message.empty()) return message;
  return root.at_pointer(pointer).get(value) == simdjson::SUCCESS ? FromValue(value) : std::string();
}

void FailWithServerError(JsonScratch& scratch, std::string_view event, Answer& answer) {
  const std::string message = ServerErrorMessage(scratch, event);
  answer.Fail(WireError::kServerErrorEvent, message.empty() ? event : message);
}

}  // namespace llmbench::wire
