# The version is written once, in pyproject.toml. A build through pip is told it; any other build reads it there.

if(NOT SKBUILD_PROJECT_VERSION)
  file(STRINGS ${PROJECT_SOURCE_DIR}/pyproject.toml _version_line REGEX "^version = \"[^\"]+\"$" LIMIT_COUNT 1)
  string(REGEX REPLACE "^version = \"([^\"]+)\"$" "\\1" SKBUILD_PROJECT_VERSION "${_version_line}")
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/pyproject.toml)
endif()
