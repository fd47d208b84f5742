#include "llmbench/wire/json_scratch.h"

namespace llmbench::wire {

std::shared_ptr<JsonScratch> MakeJsonScratch() { return std::make_shared<JsonScratch>(); }

}  // namespace llmbench::wire
