# SPDX-License-Identifier: Apache-2.0
#
# Debian packages: cmake -DCMAKE_INSTALL_PREFIX=/usr, build, cpack. The maintainer scripts are in
# this folder; staging.cmake brings the installed files into Debian's form.
set(deb ${CMAKE_CURRENT_LIST_DIR})
set(GMEMD_DEB_REVISION 1 CACHE STRING "Debian's revision of the packages")
# Who builds them answers for them, and says so as for Debian's own tools: with DEBFULLNAME and
# DEBEMAIL, or here. Who says nothing cannot be written to: no mail can reach ".invalid" (RFC 2606).
set(maintainer "gmemd built from source <nobody@gmemd.invalid>")
if(DEFINED ENV{DEBFULLNAME} AND DEFINED ENV{DEBEMAIL})
	set(maintainer "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
endif()
set(GMEMD_DEB_MAINTAINER ${maintainer} CACHE STRING "Who answers for the packages")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME gmemd)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT ${GMEMD_DEB_MAINTAINER})
# Each package has a first line of its own.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_COMPONENTS_ALL gmemd libgmem0 libgmem-dev python3-gmem)
if(NOT PROTOC)
	list(REMOVE_ITEM CPACK_COMPONENTS_ALL python3-gmem)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PRE_BUILD_SCRIPTS ${deb}/staging.cmake)
set(CPACK_GMEMD_DEB ${deb})

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${GMEMD_DEB_REVISION})
set(CPACK_DEBIAN_PACKAGE_SOURCE gmemd)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY =)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON)
set(version ${PROJECT_VERSION}-${GMEMD_DEB_REVISION})

set(CPACK_DEBIAN_GMEMD_PACKAGE_NAME gmemd)
set(CPACK_DEBIAN_GMEMD_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_GMEMD_PACKAGE_DEPENDS "libgmem0 (= ${version}), \
systemd | systemd-standalone-sysusers | systemd-sysusers, \
systemd | systemd-standalone-tmpfiles | systemd-tmpfiles")
set(CPACK_DEBIAN_GMEMD_PACKAGE_RECOMMENDS "systemd (>= 252)")
set(CPACK_DEBIAN_GMEMD_PACKAGE_SUGGESTS "apparmor, qemu-system-x86")
set(CPACK_DEBIAN_GMEMD_PACKAGE_CONTROL_EXTRA
	${deb}/conffiles ${deb}/postinst ${deb}/prerm ${deb}/postrm)
set(CPACK_DEBIAN_GMEMD_DESCRIPTION "guest-memory service for virtualisation hosts
One small daemon owns the memory of all guests of a host: it makes the
memory (guest_memfd, memfd, hugepages), hands file descriptors to
unprivileged virtual machine monitors over a Unix socket, keeps the books
and enforces the limits of each tenant. The memory survives restarts of the
monitors and of the daemon.

A tenant is a socket unit: systemctl enable --now gmemd@NAME.socket.")

set(CPACK_DEBIAN_LIBGMEM0_PACKAGE_NAME libgmem0)
set(CPACK_DEBIAN_LIBGMEM0_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBGMEM0_PACKAGE_CONTROL_EXTRA ${deb}/triggers)
set(CPACK_DEBIAN_LIBGMEM0_DESCRIPTION "guest memory for virtual machine monitors (library)
libgmem gets the memory of a guest from gmemd, maps it, and comes back to it
when gmemd or the monitor was started again. Without a daemon it makes the
memory itself.")

set(CPACK_DEBIAN_LIBGMEM-DEV_PACKAGE_NAME libgmem-dev)
set(CPACK_DEBIAN_LIBGMEM-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBGMEM-DEV_PACKAGE_DEPENDS "libgmem0 (= ${version})")
set(CPACK_DEBIAN_LIBGMEM-DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_LIBGMEM-DEV_DESCRIPTION "guest memory for virtual machine monitors (development)
What it takes to build programs with libgmem: the header, files for pkg-config
and CMake, and the manual.")

set(CPACK_DEBIAN_PYTHON3-GMEM_PACKAGE_NAME python3-gmem)
set(CPACK_DEBIAN_PYTHON3-GMEM_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON3-GMEM_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PYTHON3-GMEM_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_PYTHON3-GMEM_PACKAGE_DEPENDS "python3, python3-protobuf")
set(CPACK_DEBIAN_PYTHON3-GMEM_DESCRIPTION "guest memory for virtual machine monitors (Python)
A client of gmemd in Python, for tests and tools.")

include(CPack)
