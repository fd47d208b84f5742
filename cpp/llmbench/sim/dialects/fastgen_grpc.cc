// DeepSpeed-FastGen over gRPC: a stream of replies with new text and the count so far, or one reply. The
// bridge from HTTP/2 hands its requests over as JSON and puts the status behind what is whole.
#include <cstdio>

#include "llmbench/sim/dialects/dialects.h"
#include "llmbench/sim/fastgen_grpc_messages.h"
#include "llmbench/sim/json_text.h"

namespace llmbench::sim {
namespace {

constexpr int kStream = 0;
constexpr int kUnary = 1;
constexpr std::string_view kType = "application/grpc";

// The numbers of gRPC's statuses.
constexpr int kUnknown = 2, kNotFound = 5, kExhausted = 8, kUnimplemented = 12, kUnavailable = 14,
              kUnauthenticated = 16;

BodyRules MakeRules() {
  BodyRules rules;
  rules.prompt_field = "request";
  rules.keeps_text = true;
  rules.fields = {{"request", FieldUse::kTexts},
                  {"max_length", FieldUse::kMaxLength},
                  {"max_new_tokens", FieldUse::kMaxTokens},
                  {"min_new_tokens", FieldUse::kMinTokens},
                  {"ignore_eos", FieldUse::kIgnoreEos},
                  {"return_full_text", FieldUse::kEcho},
                  {"stream", FieldUse::kIgnored}};
  return rules;
}

int StatusOf(const ApiError& error) {
  switch (error.why) {
    case Refusal::kKey:
      return kUnauthenticated;
    case Refusal::kPath:
    case Refusal::kMethod:
      return kUnimplemented;
    case Refusal::kNotReady:
      return kUnavailable;
    case Refusal::kModel:
      return kNotFound;
    case Refusal::kInjected:
      return error.status == 429   ? kExhausted
             : error.status == 404 ? kUnimplemented
             : error.status == 503 ? kUnavailable
                                   : kUnknown;
    default:
      return kUnknown;  // an exception in the handler
  }
}

// %-encoded as a grpc-message is.
std::string Encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (c >= 0x20 && c < 0x7f && c != '%') {
      encoded += c;
      continue;
    }
    char hex[4];
    std::snprintf(hex, sizeof hex, "%%%02X", static_cast<unsigned>(static_cast<unsigned char>(c)));
    encoded += hex;
  }
  return encoded;
}

std::string Framed(const std::string& message) { return GrpcPrefix(message.size()) + message; }

class FastgenGrpc final : public Dialect {
 public:
  using Dialect::Dialect;

  Route Find(const HttpRequest& request) const override {
    if (request.target == "/modelresponse.ModelResponse/GeneratorReplyStream")
      return PostRoute(request, kStream);
    if (request.target == "/modelresponse.ModelResponse/GeneratorReply") return PostRoute(request, kUnary);
    return {};
  }

  ServerReply Error(const ApiError& error, const Answer& /*answer*/) const override {
    const std::string message =
        StatusOf(error) == kUnknown ? "Exception calling application: " + error.message : error.message;
    return {
        200, std::string(kType), "",
        "grpc-status: " + std::to_string(StatusOf(error)) + "\r\ngrpc-message: " + Encoded(message) + "\r\n"};
  }

  const BodyRules& Rules(int /*form*/) const override {
    static const auto* const rules = new BodyRules(MakeRules());
    return *rules;
  }

  ApiError Take(int form, const HttpRequest& /*http*/, GenerationRequest* request) const override {
    request->stream = form == kStream;
    if (request->stream && request->prompts.size() != 1) {
      return {Refusal::kValue, 400, "a stream takes exactly one prompt", "request"};
    }
    return {};
  }

  StreamKind Stream(const Answer& /*answer*/) const override { return StreamKind::kDocuments; }
  std::string_view StreamType(const Answer& /*answer*/) const override { return kType; }

  void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const override {
    std::string text, message;
    AppendEventText(answer, span, false, Echoes(answer, false), &text);
    AppendFastgenReply(text, span.finishes ? FinishReason(answer, span.choice) : "none",
                       answer.prompt_of(span.choice).tokens, span.first + span.count, &message);
    events->Event(Framed(message));
  }
  void Finish(const Answer& answer, size_t choice, EventStream* events) const override {
    std::string message;
    AppendFastgenReply("", FinishReason(answer, choice), answer.prompt_of(choice).tokens,
                       answer.choices[choice].sent, &message);
    events->Event(Framed(message));
  }

  ServerReply Document(const Answer& answer) const override {
    std::string message;
    for (size_t i = 0; i < answer.choices.size(); ++i) {
      std::string text;
      const int64_t sent = answer.choices[i].sent;
      AppendEventText(answer, {i, 0, sent, true}, false, Echoes(answer, false), &text);
      AppendFastgenReply(text, FinishReason(answer, i), answer.prompt_of(i).tokens, sent, &message);
    }
    return {200, std::string(kType), Framed(message), ""};
  }

  // What fails in mid-stream ends the stream.
  bool ErrorEvent(const Answer& /*answer*/, EventStream* /*events*/) const override { return false; }
  std::string Probe(const Answer& /*answer*/, std::string_view text,
                    std::string_view* /*name*/) const override {
    std::string message;
    AppendFastgenReply(text, "none", 1, 1, &message);
    return Framed(message);
  }
  // A message with a field nobody knows, and no reply.
  std::string_view WrongSchema() const override { return std::string_view("\0\0\0\0\2\x48\1", 7); }
};

}  // namespace

DialectPointer MakeFastgenGrpc(const DialectContext& context) {
  return std::make_unique<FastgenGrpc>(context);
}

}  // namespace llmbench::sim
