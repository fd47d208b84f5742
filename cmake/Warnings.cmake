add_library(llmbench_warnings INTERFACE)
target_compile_options(llmbench_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wimplicit-fallthrough
  $<$<BOOL:${LLMBENCH_WERROR}>:-Werror>)
