#include "bindings.h"

namespace llmbench::python {

void BindWorkload(pybind11::module_&) {}

}  // namespace llmbench::python
