// One function per dialect of its own; what each is like stands in its file and in docs/simulator.md.
#pragma once

#include <memory>
#include <string>

#include "llmbench/sim/dialect.h"

namespace llmbench::sim {

using DialectPointer = std::unique_ptr<const Dialect>;

DialectPointer MakeResponses(const DialectContext& context);
DialectPointer MakeMessages(const DialectContext& context);
DialectPointer MakeVllmGenerate(const DialectContext& context);
DialectPointer MakeTgi(const DialectContext& context);
DialectPointer MakeTriton(const DialectContext& context);
DialectPointer MakeSglang(const DialectContext& context);
DialectPointer MakeLlamaCpp(const DialectContext& context);
DialectPointer MakeOllama(const DialectContext& context);
DialectPointer MakeMii(const DialectContext& context);
DialectPointer MakeFastgenRest(const DialectContext& context);
DialectPointer MakeFastgenGrpc(const DialectContext& context);
DialectPointer MakeAml(const DialectContext& context);
DialectPointer MakeTransformers(const DialectContext& context);
DialectPointer MakeJetstream(const DialectContext& context);
DialectPointer MakeJetstreamV1(const DialectContext& context);
DialectPointer MakeSax(const DialectContext& context);
DialectPointer MakeContentSafety(const DialectContext& context);

// A server that answers in one piece, whatever is asked.
class DocumentDialect : public Dialect {
 public:
  using Dialect::Dialect;
  ApiError Take(int /*form*/, const HttpRequest& /*http*/, GenerationRequest* request) const override {
    request->stream = false;
    return {};
  }
  void Tokens(const Answer& /*answer*/, const TokenSpan& /*span*/, EventStream* /*events*/) const override {}
  bool ErrorEvent(const Answer& /*answer*/, EventStream* /*events*/) const override { return false; }
  // Of a document that is made to be wrong.
  std::string Probe(const Answer& answer, std::string_view text, std::string_view* name) const override;
  std::string_view WrongSchema() const override { return R"({"unexpected":[1]})"; }
};

inline bool IsGet(const HttpRequest& request) { return request.method == "GET" || request.method == "HEAD"; }
inline bool IsPost(const HttpRequest& request) { return request.method == "POST"; }

// The route of a POST, or what a GET of its path leads to.
inline Route PostRoute(const HttpRequest& request, int form) {
  return {IsPost(request) ? Route::Kind::kGenerate : Route::Kind::kWrongMethod, form, ""};
}

inline ServerReply TextReply(int status, std::string text) {
  return {status, "text/plain; charset=utf-8", std::move(text), ""};
}

}  // namespace llmbench::sim
