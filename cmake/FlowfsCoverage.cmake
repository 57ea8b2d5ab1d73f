# SPDX-License-Identifier: BSD-3-Clause
# `cmake --build build/coverage --target coverage` after the tests of that preset have run.

find_program(GCOVR gcovr)
if(GCOVR)
  add_custom_target(coverage
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/report
    COMMAND ${GCOVR} --root ${CMAKE_SOURCE_DIR} --filter ${CMAKE_SOURCE_DIR}/src/ --exclude-throw-branches
            --html-details ${CMAKE_BINARY_DIR}/report/index.html --print-summary ${CMAKE_BINARY_DIR}
    COMMENT "Coverage report in ${CMAKE_BINARY_DIR}/report/index.html" VERBATIM)
endif()
