# SPDX-License-Identifier: BSD-3-Clause
# What every target shares: warnings, sanitizers, and the helpers that declare a layer or a test.

add_library(flowfs_options INTERFACE)
target_include_directories(flowfs_options INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(flowfs_options INTERFACE FLOWFS_VERSION="${PROJECT_VERSION}")
target_compile_options(flowfs_options INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
                       -Wnon-virtual-dtor -Wold-style-cast -Werror)
if(FLOWFS_SANITIZE)
  target_compile_options(flowfs_options INTERFACE -fsanitize=${FLOWFS_SANITIZE} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer)
  target_link_options(flowfs_options INTERFACE -fsanitize=${FLOWFS_SANITIZE})
endif()
if(FLOWFS_FUZZ)
  target_compile_options(flowfs_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined
                         -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(flowfs_options INTERFACE -fsanitize=address,undefined)
endif()

# flowfs_layer(NAME SOURCES... DEPENDS ...): one folder of src as a static library flowfs_NAME.
function(flowfs_layer name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(flowfs_${name} STATIC ${arg_SOURCES})
  target_link_libraries(flowfs_${name} PUBLIC flowfs_options ${arg_DEPENDS})
endfunction()

# flowfs_test(NAME SOURCES ... DEPENDS ... [THREADS]): a GoogleTest program, registered with CTest as a whole.
# THREADS: several of them run in it, so it is for ThreadSanitizer too, and has the label `threads`.
function(flowfs_test name)
  cmake_parse_arguments(arg "THREADS" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  foreach(source IN LISTS arg_SOURCES)
    file(STRINGS ${source} threads REGEX "std::(thread|jthread|async)[^_a-z]|base/(loop|worker).hpp")
    if(threads AND NOT arg_THREADS)
      message(FATAL_ERROR "${name}: ${source} uses threads: say THREADS")
    endif()
  endforeach()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE flowfs_options GTest::gmock GTest::gtest_main ${arg_DEPENDS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
  if(arg_THREADS)
    set_property(TEST ${name} APPEND PROPERTY LABELS threads)
    set_property(GLOBAL APPEND PROPERTY FLOWFS_THREADED_TESTS ${name})
  endif()
endfunction()
