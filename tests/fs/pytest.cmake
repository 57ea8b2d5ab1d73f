# SPDX-License-Identifier: BSD-3-Clause
# flowfs_pytest(FILE [TIMEOUT seconds]): a pytest file as one CTest entry, here or in a sibling folder.
set(FLOWFS_PYTHON /usr/bin/python3 CACHE FILEPATH "a Python that has pytest")
set(FLOWFS_PYTEST_HELPERS ${CMAKE_CURRENT_LIST_DIR})

function(flowfs_pytest file)
  cmake_parse_arguments(arg "" "TIMEOUT;LABEL" "" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(NOT arg_LABEL)
    set(arg_LABEL fs)
  endif()
  get_filename_component(name ${file} NAME_WE)
  string(REGEX REPLACE "^test_" "${arg_LABEL}_" name ${name})
  add_test(NAME ${name} COMMAND ${FLOWFS_PYTHON} -B -m pytest -q -rs -p no:cacheprovider --durations=3
           ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${arg_TIMEOUT} LABELS ${arg_LABEL}
    ENVIRONMENT "FLOWFS_BIN=${CMAKE_RUNTIME_OUTPUT_DIRECTORY};FLOWFS_TEST_BIN=${CMAKE_BINARY_DIR}/tests;PYTHONPATH=${FLOWFS_PYTEST_HELPERS};FLOWFS_FIGURES=${CMAKE_BINARY_DIR}/tests/figures.jsonl")
endfunction()
