#include "bindings.h"

namespace llmbench::python {

void BindSim(pybind11::module_&) {}

}  // namespace llmbench::python
