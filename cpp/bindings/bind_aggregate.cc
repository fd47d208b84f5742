#include "bindings.h"

namespace llmbench::python {

void BindAggregate(pybind11::module_&) {}

}  // namespace llmbench::python
