// The table of contents of llmbench._core: one bind file per stage.
#pragma once

#include <pybind11/pybind11.h>

#include "absl/status/status.h"

namespace llmbench::python {

void BindWorkload(pybind11::module_& m);
void BindRecord(pybind11::module_& m);
void BindAggregate(pybind11::module_& m);
void BindEngine(pybind11::module_& m);
void BindSim(pybind11::module_& m);
void BindWire(pybind11::module_& m);

// Raises CoreError(message) with .code set: config (InvalidArgument), unreachable (Unavailable), limit
// (ResourceExhausted), results (anything of the file system: FailedPrecondition, DataLoss, PermissionDenied),
// else internal.
[[noreturn]] void ThrowCoreError(const absl::Status& status);
inline void ThrowIfError(const absl::Status& status) {
  if (!status.ok()) ThrowCoreError(status);
}

}  // namespace llmbench::python
