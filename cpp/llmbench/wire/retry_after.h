// When a server says that it may be asked again.
#pragma once

#include <cstdint>
#include <string>

namespace llmbench::wire {

// Header fields of a response, "" where absent.
struct RetryAfter {
  std::string after;     // Retry-After: seconds or an HTTP date
  std::string after_ms;  // Retry-After-Ms
  std::string date;      // Date

  // Seconds from the response on: of Retry-After-Ms rounded up, else of Retry-After, whose date counts from
  // the response's own Date and is 0 when it has passed; -1 when there is neither, or nothing that can be
  // read.
  int64_t seconds() const;
};

}  // namespace llmbench::wire
