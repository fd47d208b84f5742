// Counts the allocations of the test program, all of operator new's.
#pragma once

namespace llmbench::wire {

// So far, on all threads.
long Allocations();

}  // namespace llmbench::wire
