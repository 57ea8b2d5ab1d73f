# SPDX-License-Identifier: BSD-3-Clause
# What `cmake --install` puts beside the programs: manual pages, completion, systemd unit, configuration.

file(GLOB man_pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/man/*.[1-8])
foreach(page IN LISTS man_pages)
  string(REGEX MATCH "[1-8]$" section ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

file(GLOB completions CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/config/completion/*)
install(FILES ${completions} DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)

# The Python module, where the interpreter of this machine looks for what was not packaged.
if(NOT DEFINED FLOWFS_PYTHON_DIR)
  execute_process(COMMAND /usr/bin/python3 -c
                  "import sysconfig; print(sysconfig.get_path('purelib').removeprefix('/usr/').removeprefix('local/'))"
                  OUTPUT_VARIABLE FLOWFS_PYTHON_DIR OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT FLOWFS_PYTHON_DIR)
    set(FLOWFS_PYTHON_DIR lib/python3/dist-packages)
  endif()
  set(FLOWFS_PYTHON_DIR ${FLOWFS_PYTHON_DIR} CACHE STRING "where flowfs.py goes, below the prefix")
endif()
install(FILES ${CMAKE_SOURCE_DIR}/python/flowfs.py DESTINATION ${FLOWFS_PYTHON_DIR})

pkg_get_variable(systemd_units systemd systemdsystemunitdir)
if(NOT systemd_units)
  set(systemd_units lib/systemd/system)
endif()
string(REGEX REPLACE "^/(usr/)?" "" systemd_units "${systemd_units}")
# Written when installing, as only then the prefix is certain (cmake --install --prefix).
install(CODE "
  set(sbindir \"\${CMAKE_INSTALL_PREFIX}/sbin\")
  configure_file(\"${CMAKE_SOURCE_DIR}/config/flowfsd.service.in\" \"${CMAKE_BINARY_DIR}/flowfsd.service\" @ONLY)")
install(FILES ${CMAKE_BINARY_DIR}/flowfsd.service DESTINATION ${systemd_units})
install(FILES ${CMAKE_SOURCE_DIR}/config/flowfs.sysusers DESTINATION lib/sysusers.d RENAME flowfs.conf)

# Where the daemon looks for it whatever the prefix. One that is there has been edited, perhaps.
install(CODE "
  if(NOT EXISTS \"\$ENV{DESTDIR}/etc/flowfs/flowfsd.toml\")
    file(INSTALL DESTINATION /etc/flowfs TYPE FILE FILES \"${CMAKE_SOURCE_DIR}/config/flowfsd.toml\")
  endif()")
