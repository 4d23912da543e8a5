# SPDX-License-Identifier: Apache-2.0
#
# Run by cpack between installing and packing: compressed manuals, changelog and copyright of
# each package.
cmake_minimum_required(VERSION 3.25)

function(gzip file)
	execute_process(COMMAND gzip -9n -- ${file} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(package IN LISTS CPACK_COMPONENTS_ALL)
	set(root ${CPACK_TEMPORARY_DIRECTORY}/${package}${CPACK_PACKAGING_INSTALL_PREFIX})
	set(doc ${root}/share/doc/${package})
	file(GLOB pages ${root}/share/man/man*/*[0-9])
	foreach(page IN LISTS pages)
		gzip(${page})
	endforeach()
	file(MAKE_DIRECTORY ${doc})
	configure_file(${CPACK_GMEMD_DEB}/changelog ${doc}/changelog.Debian COPYONLY)
	gzip(${doc}/changelog.Debian)
	configure_file(${CPACK_GMEMD_DEB}/copyright ${doc}/copyright COPYONLY)
	if(EXISTS ${CPACK_GMEMD_DEB}/${package}.lintian)
		configure_file(${CPACK_GMEMD_DEB}/${package}.lintian
			${root}/share/lintian/overrides/${package} COPYONLY)
	endif()
endforeach()
