#include <pybind11/pybind11.h>

#include <string>

#include "bindings.h"

namespace py = pybind11;

namespace llmbench::python {
namespace {

PyObject* core_error = nullptr;

const char* CodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return "config";
    case absl::StatusCode::kUnavailable:
      return "unreachable";
    case absl::StatusCode::kResourceExhausted:
      return "limit";
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kPermissionDenied:
      return "results";
    default:
      return "internal";
  }
}

}  // namespace

void ThrowCoreError(const absl::Status& status) {
  py::object error = py::reinterpret_borrow<py::object>(core_error)(std::string(status.message()));
  error.attr("code") = CodeOf(status);
  PyErr_SetObject(core_error, error.ptr());
  throw py::error_already_set();
}

PYBIND11_MODULE(_core, m) {
  m.attr("__version__") = LLMBENCH_VERSION;
  core_error = PyErr_NewException("llmbench._core.CoreError", PyExc_RuntimeError, nullptr);
  m.add_object("CoreError", py::reinterpret_borrow<py::object>(core_error));
  BindWorkload(m);
  BindWire(m);
  BindRecord(m);
  BindAggregate(m);
  BindEngine(m);
  BindSim(m);
}

}  // namespace llmbench::python
