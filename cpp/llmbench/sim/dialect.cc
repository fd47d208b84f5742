#include "llmbench/sim/dialect.h"

#include <utility>

#include "llmbench/sim/json_text.h"

namespace llmbench::sim {

ServerReply Dialect::Page(int /*form*/, const Load& /*load*/) const { return {200, "", "", ""}; }

bool Dialect::MayPass(const HttpRequest& request, const std::string& key) const {
  return request.authorization == "Bearer " + key;
}

ApiError Dialect::Take(int /*form*/, const HttpRequest& /*http*/, GenerationRequest* /*request*/) const {
  return {};
}

const char* Dialect::FinishReason(const Answer& answer, size_t choice) const {
  if (answer.fault.is(FaultKind::kAbort)) return "abort";
  return answer.choices[choice].ends_by_eos ? "stop" : "length";
}

void Dialect::AppendModel(const Answer& answer, std::string* out) const {
  AppendJsonString(answer.request.model.empty() ? deployment_.model : answer.request.model, out);
}

bool Dialect::Echoes(const Answer& answer, bool by_default) const {
  if (options_.echo != Echo::kAuto) return options_.echo == Echo::kOn;
  return by_default || answer.request.echo;
}

bool Dialect::Cumulative(bool by_default) const {
  if (options_.text_mode != TextMode::kAuto) return options_.text_mode == TextMode::kCumulative;
  return by_default;
}

void Dialect::AppendEventText(const Answer& answer, const TokenSpan& span, bool cumulative, bool echo,
                              std::string* out) const {
  if (echo && (cumulative || span.first == 0)) *out += answer.prompt_of(span.choice).text;
  if (cumulative) {
    text_.AppendSoFar(answer, span.choice, span.first + span.count, out);
  } else {
    text_.Append(answer, span.choice, span.first, span.count, out);
  }
}

void Dialect::SendDone(const Answer& answer, EventStream* events) const {
  if (options_.send_done && !answer.fault.is(FaultKind::kNoDone)) events->Event("[DONE]");
  if (answer.fault.is(FaultKind::kDoubleDone)) events->Event("[DONE]");
}

std::string Dialect::ErrorWords(const ApiError& error, std::string in_dialect) const {
  return StyledError(options_.error_body, error, {error.status, "", std::move(in_dialect), ""}).body;
}

ApiError InjectedFault() { return {Refusal::kInjected, 500, "injected fault", ""}; }

const char* ErrorTypeOf(int status) {
  switch (status) {
    case 401:
      return "AuthenticationError";
    case 404:
      return "NotFoundError";
    case 429:
      return "RateLimitError";
    case 503:
      return "ServiceUnavailableError";
    default:
      return status >= 500 ? "InternalServerError" : "BadRequestError";
  }
}

std::string ErrorObject(const ApiError& error) {
  std::string body = "{\"error\":{\"message\":";
  AppendJsonString(error.message, &body);
  body += ",\"type\":";
  AppendJsonString(ErrorTypeOf(error.status), &body);
  body += ",\"param\":";
  if (error.param.empty()) {
    body += "null";
  } else {
    AppendJsonString(error.param, &body);
  }
  body += ",\"code\":";
  AppendNumber(int64_t{error.status}, &body);
  body += "}}";
  return body;
}

std::string ErrorMember(std::string_view key, std::string_view message) {
  std::string body = "{\"";
  body += key;
  body += "\":";
  AppendJsonString(message, &body);
  body += '}';
  return body;
}

std::string ErrorPage(int status, std::string_view message) {
  const std::string title = std::to_string(status) + " " + std::string(ReasonPhrase(status));
  return "<!doctype html>\n<html lang=en>\n<title>" + title + "</title>\n<h1>" + title + "</h1>\n<p>" +
         std::string(message) + "</p>\n";
}

ServerReply StyledError(ErrorBody style, const ApiError& error, ServerReply in_dialect) {
  ServerReply reply;
  reply.status = in_dialect.status;
  reply.extra = std::move(in_dialect.extra);
  switch (style) {
    case ErrorBody::kDialect:
      reply.content_type = std::move(in_dialect.content_type);
      reply.body = std::move(in_dialect.body);
      break;
    case ErrorBody::kObject:
      reply.body = ErrorObject(error);
      break;
    case ErrorBody::kString:
      reply.body = ErrorMember("error", error.message);
      break;
    case ErrorBody::kFlat: {
      const std::string object = ErrorObject(error);
      // The same members without the object around them.
      reply.body = "{\"object\":\"error\"," + object.substr(10, object.size() - 11);
      break;
    }
    case ErrorBody::kDetail:
      reply.body = ErrorMember("detail", error.message);
      break;
    case ErrorBody::kDetailList: {
      reply.body = R"({"detail":[{"type":"value_error","loc":["body",)";
      AppendJsonString(error.param, &reply.body);
      reply.body += R"(],"msg":)";
      AppendJsonString(error.message, &reply.body);
      reply.body += "}]}";
      break;
    }
    case ErrorBody::kHtml:
      reply.content_type = "text/html";
      reply.body = ErrorPage(reply.status, error.message);
      break;
    case ErrorBody::kEmpty:
      reply.content_type.clear();
      break;
  }
  return reply;
}

}  // namespace llmbench::sim
