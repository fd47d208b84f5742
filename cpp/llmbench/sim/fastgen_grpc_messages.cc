#include "llmbench/sim/fastgen_grpc_messages.h"

#include <simdjson.h>

#include <cstdio>
#include <cstring>

#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

struct Field {
  uint64_t number = 0, value = 0;
  int type = 0;
  std::string_view bytes;
};

bool TakeVarint(std::string_view* in, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 64 && !in->empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(in->front());
    in->remove_prefix(1);
    *value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// False at the end, and at what is no field.
bool TakeField(std::string_view* in, Field* field) {
  uint64_t tag, size;
  if (in->empty() || !TakeVarint(in, &tag)) return false;
  field->number = tag >> 3;
  field->type = static_cast<int>(tag & 7);
  switch (field->type) {
    case 0:
      return TakeVarint(in, &field->value);
    case 1:
      size = 8;
      break;
    case 2:
      if (!TakeVarint(in, &size)) return false;
      break;
    case 5:
      size = 4;
      break;
    default:
      return false;
  }
  if (size > in->size()) return false;
  field->bytes = in->substr(0, size);
  in->remove_prefix(size);
  return true;
}

void AppendValue(std::string_view value, std::string* json);

// A map<string, Value>'s entry as a member of an object.
void AppendMember(std::string_view entry, std::string* json) {
  std::string_view key, value;
  for (Field field; TakeField(&entry, &field);) {
    if (field.number == 1) key = field.bytes;
    if (field.number == 2) value = field.bytes;
  }
  AppendJsonString(key, json);
  *json += ':';
  AppendValue(value, json);
}

void AppendValue(std::string_view value, std::string* json) {
  Field field;
  if (!TakeField(&value, &field)) {
    *json += "null";
    return;
  }
  switch (field.number) {
    case 1:
      AppendJsonString(field.bytes, json);
      break;
    case 2:
      AppendNumber(static_cast<int64_t>(field.value), json);
      break;
    case 3: {
      float number = 0;
      if (field.bytes.size() == sizeof number) std::memcpy(&number, field.bytes.data(), sizeof number);
      char text[32];
      std::snprintf(text, sizeof text, "%.9g", static_cast<double>(number));
      *json += text;
      break;
    }
    case 4:
      *json += field.value != 0 ? "true" : "false";
      break;
    case 5: {
      *json += '{';
      bool first = true;
      for (Field member; TakeField(&field.bytes, &member);) {
        if (!first) *json += ',';
        first = false;
        AppendMember(member.bytes, json);
      }
      *json += '}';
      break;
    }
    default:
      *json += "null";
  }
}

void AppendVarint(uint64_t value, std::string* out) {
  for (; value > 0x7f; value >>= 7) *out += static_cast<char>((value & 0x7f) | 0x80);
  *out += static_cast<char>(value);
}

void AppendBytes(int number, std::string_view bytes, std::string* out) {
  AppendVarint(static_cast<uint64_t>(number) << 3 | 2, out);
  AppendVarint(bytes.size(), out);
  *out += bytes;
}

// The text that a JSON string stands for.
std::string Unescaped(std::string_view text) {
  if (text.find('\\') == std::string_view::npos) return std::string(text);
  simdjson::dom::parser parser;
  std::string_view plain;
  const std::string json = "\"" + std::string(text) + "\"";
  if (parser.parse(json).get(plain) != simdjson::SUCCESS) return "\xef\xbf\xbd";  // a lone surrogate
  return std::string(plain);
}

}  // namespace

std::string FastgenRequestToJson(std::string_view framed) {
  if (framed.size() < 5 || framed[0] != 0) return {};
  framed.remove_prefix(5);
  std::string prompts, members;
  for (Field field; TakeField(&framed, &field);) {
    if (field.type != 2) continue;
    if (field.number == 1) {
      prompts += prompts.empty() ? "" : ",";
      AppendJsonString(field.bytes, &prompts);
    } else if (field.number == 2) {
      members += ',';
      AppendMember(field.bytes, &members);
    }
  }
  return "{\"request\":[" + prompts + "]" + members + "}";
}

void AppendFastgenReply(std::string_view text, std::string_view finish_reason, int64_t prompt_tokens,
                        int64_t generated_tokens, std::string* message) {
  std::string reply;
  AppendBytes(1, Unescaped(text), &reply);
  AppendBytes(2, finish_reason, &reply);
  reply += '\x18';
  AppendVarint(static_cast<uint64_t>(prompt_tokens), &reply);
  reply += '\x20';
  AppendVarint(static_cast<uint64_t>(generated_tokens), &reply);
  // The times that the server does not tell: -1.
  reply.append("\x2d\0\0\x80\xbf\x35\0\0\x80\xbf", 10);
  AppendBytes(1, reply, message);
}

std::string GrpcPrefix(size_t size) {
  std::string prefix(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) prefix += static_cast<char>(size >> shift & 0xff);
  return prefix;
}

}  // namespace llmbench::sim
