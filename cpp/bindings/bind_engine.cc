#include "bindings.h"

namespace llmbench::python {

void BindEngine(pybind11::module_&) {}

}  // namespace llmbench::python
