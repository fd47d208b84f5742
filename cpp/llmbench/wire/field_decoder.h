// Reads events and documents by a format's rules (wire_rules.h): one pass over the JSON, nothing allocated
// for an ordinary event.
#pragma once

#include <memory>

#include "llmbench/wire/stream_decoder.h"
#include "llmbench/wire/wire_format.h"

namespace llmbench::wire {

std::unique_ptr<StreamDecoder> MakeFieldDecoder(const WireFormat& format,
                                                std::shared_ptr<JsonScratch> scratch);

}  // namespace llmbench::wire
