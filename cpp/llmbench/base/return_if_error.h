// Early return for absl::Status, which this version of Abseil does not bring.
#pragma once

#define LLMBENCH_RETURN_IF_ERROR(expr)                        \
  do {                                                        \
    if (auto status_ = (expr); !status_.ok()) return status_; \
  } while (false)
