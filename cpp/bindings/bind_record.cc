#include "bindings.h"

namespace llmbench::python {

void BindRecord(pybind11::module_&) {}

}  // namespace llmbench::python
