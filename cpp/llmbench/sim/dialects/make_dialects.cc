#include "llmbench/sim/dialect.h"
#include "llmbench/sim/dialects/openai.h"

namespace llmbench::sim {

std::vector<std::unique_ptr<const Dialect>> MakeDialects(const DialectContext& context) {
  std::vector<std::unique_ptr<const Dialect>> dialects;
  dialects.push_back(std::make_unique<OpenAiDialect>(context, OpenAiManners{}));
  return dialects;
}

}  // namespace llmbench::sim
