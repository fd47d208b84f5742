// The words of one kind of server: which paths it has, how it understands a body, what its events and
// documents look like, how it says no. The HTTP around them is http_writer.h's, the dress of a stream
// event_stream.h's.
//
// A server speaks several at a time: that of its option `dialect` and those of the OpenAI family.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "llmbench/sim/answer.h"
#include "llmbench/sim/answer_text.h"
#include "llmbench/sim/deployment.h"
#include "llmbench/sim/event_stream.h"
#include "llmbench/sim/generation_request.h"
#include "llmbench/sim/http_request.h"
#include "llmbench/sim/http_writer.h"
#include "llmbench/sim/options.h"

namespace llmbench::sim {

// Where a request leads.
struct Route {
  enum class Kind : uint8_t { kNone, kGenerate, kTokenize, kPage, kMetrics, kWrongMethod };
  Kind kind = Kind::kNone;
  int form = 0;            // the dialect's own number for the answer or the page
  std::string_view model;  // where the path names it
};

// What pages tell of the replicas behind a port.
struct Load {
  int64_t running = 0;
  int64_t waiting = 0;
};

// Tokens of one event.
struct TokenSpan {
  size_t choice = 0;
  int64_t first = 0;
  int64_t count = 0;
  bool finishes = false;  // the finish reason rides on it
};

// What dialects are made from; all of it outlives them.
struct DialectContext {
  const Options& options;
  const Deployment& deployment;
  const AnswerText& text;
};

// Immutable: all serving loops share it.
class Dialect {
 public:
  explicit Dialect(const DialectContext& context)
      : options_(context.options), deployment_(context.deployment), text_(context.text) {}
  virtual ~Dialect() = default;
  Dialect(const Dialect&) = delete;
  Dialect& operator=(const Dialect&) = delete;

  // Requests.
  virtual Route Find(const HttpRequest& request) const = 0;
  virtual ServerReply Page(int form, const Load& load) const;
  // Whether the request brings the key, or needs none.
  virtual bool MayPass(const HttpRequest& request, const std::string& key) const;
  // `answer` is the request's, of which only what was understood is set.
  virtual ServerReply Error(const ApiError& error, const Answer& answer) const = 0;
  // One request per connection.
  virtual bool ClosesConnections() const { return false; }
  virtual const BodyRules& Rules(int form) const = 0;
  // What the server does with an understood request: refuses it, or changes what it asks for.
  virtual ApiError Take(int form, const HttpRequest& http, GenerationRequest* request) const;

  // Answers. What all events share is put into `answer->front`.
  virtual std::string_view IdPrefix(int /*form*/) const { return ""; }
  virtual void Begin(Answer* /*answer*/) const {}
  virtual StreamKind Stream(const Answer& /*answer*/) const { return StreamKind::kServerSentEvents; }
  virtual std::string_view StreamType(const Answer& /*answer*/) const {
    return "text/event-stream; charset=utf-8";
  }
  virtual std::string HeadLines(const Answer& /*answer*/) const { return ""; }
  // Tokens that one event can carry; 0: any number.
  virtual int64_t EventTokens(const Answer& /*answer*/) const { return 0; }
  virtual bool FinishesApart(const Answer& /*answer*/) const {
    return options_.finish == FinishEvent::kApart;
  }
  // What comes in front of the first tokens of a choice, or, when it opens early, as soon as the request was
  // taken.
  virtual bool OpensEarly(const Answer& /*answer*/) const { return false; }
  virtual void Opening(const Answer& /*answer*/, size_t /*choice*/, EventStream* /*events*/) const {}
  virtual void Tokens(const Answer& answer, const TokenSpan& span, EventStream* events) const = 0;
  virtual void Finish(const Answer& /*answer*/, size_t /*choice*/, EventStream* /*events*/) const {}
  // What follows the last choice's end.
  virtual void Tail(const Answer& /*answer*/, EventStream* /*events*/) const {}
  virtual ServerReply Document(const Answer& answer) const = 0;
  // What is sent while there is nothing to send.
  virtual std::string_view PingText() const { return " ping"; }

  // Faults. An error in mid-stream; false when such a server has no words for it and breaks off.
  virtual bool ErrorEvent(const Answer& answer, EventStream* events) const = 0;
  // The payload of an event with any text; `name` is set to that of the event where it has one.
  virtual std::string Probe(const Answer& answer, std::string_view text, std::string_view* name) const = 0;
  // JSON, and nothing that this dialect could mean.
  virtual std::string_view WrongSchema() const = 0;

 protected:
  const char* FinishReason(const Answer& answer, size_t choice) const;
  void AppendModel(const Answer& answer, std::string* out) const;
  // The text of an event: what is new, or all so far, with the prompt in front where it is to be repeated.
  void AppendEventText(const Answer& answer, const TokenSpan& span, bool cumulative, bool echo,
                       std::string* out) const;
  bool Echoes(const Answer& answer, bool by_default) const;
  bool Cumulative(bool by_default) const;
  // The end of a stream like OpenAI's, where neither the options nor a fault keep it back.
  void SendDone(const Answer& answer, EventStream* events) const;
  // An error within a stream: the dialect's words for it, or those of the style that the options ask for.
  std::string ErrorWords(const ApiError& error, std::string in_dialect) const;

  const Options& options_;
  const Deployment& deployment_;
  const AnswerText& text_;
};

// What a server says that was told to fail.
ApiError InjectedFault();
// "AuthenticationError", "NotFoundError": vLLM's name for a status.
const char* ErrorTypeOf(int status);
// vLLM's body.
std::string ErrorObject(const ApiError& error);
// {"error":"…"} and the like.
std::string ErrorMember(std::string_view key, std::string_view message);
// Flask's page.
std::string ErrorPage(int status, std::string_view message);
// The dialect's reply, or one of the same status in another style.
ServerReply StyledError(ErrorBody style, const ApiError& error, ServerReply in_dialect);

// The dialects a server speaks, by its options, the one they name first.
std::vector<std::unique_ptr<const Dialect>> MakeDialects(const DialectContext& context);

}  // namespace llmbench::sim
