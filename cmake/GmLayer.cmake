# SPDX-License-Identifier: Apache-2.0
#
# One static library per layer. A layer sees the headers of the layers it links and no others:
# that is how the build enforces the arrows of the architecture.

set(GM_WARNINGS
	-Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wundef
	-Wwrite-strings -Wcast-align -Wswitch-enum -Wformat=2 -Wimplicit-fallthrough
	-Wpointer-arith -Wold-style-definition)
set(GM_HARDENING
	-fstack-protector-strong -fstack-clash-protection -fcf-protection
	-ftrivial-auto-var-init=zero -fno-strict-aliasing -fvisibility=hidden)
if(CMAKE_C_COMPILER_ID STREQUAL "Clang" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 16)
	# Zero is what such a clang takes only together with this promise.
	list(APPEND GM_HARDENING
		-enable-trivial-auto-var-init-zero-knowing-it-will-be-removed-from-clang)
endif()

# Flags for code of this project; generated code gets gm_flags_generated.
function(gm_flags target)
	target_compile_definitions(${target} PRIVATE _GNU_SOURCE GMEMD_VERSION="${PROJECT_VERSION}")
	target_compile_options(${target} PRIVATE ${GM_WARNINGS} ${GM_HARDENING})
	if(GMEMD_WERROR)
		target_compile_options(${target} PRIVATE -Werror)
	endif()
	gm_flags_common(${target})
endfunction()

function(gm_flags_generated target)
	target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
	target_compile_options(${target} PRIVATE ${GM_HARDENING})
	gm_flags_common(${target})
endfunction()

function(gm_flags_common target)
	# CMake's release build types define it; our asserts stay in every build.
	target_compile_options(${target} PRIVATE -UNDEBUG)
	if(GMEMD_SANITIZE)
		target_compile_options(${target} PRIVATE
			-fsanitize=${GMEMD_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
		target_link_options(${target} PUBLIC -fsanitize=${GMEMD_SANITIZE})
		target_compile_definitions(${target} PRIVATE GMEMD_SANITIZED=1)
	elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
		target_compile_definitions(${target} PRIVATE _FORTIFY_SOURCE=2)
	endif()
	if(GMEMD_FUZZ)
		target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
	endif()
	target_link_options(${target} PUBLIC -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed)
endfunction()

# gm_layer(NAME SOURCES file... LINK target...): library gm_NAME whose public headers are those of
# the current folder.
function(gm_layer name)
	cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
	add_library(gm_${name} STATIC ${ARG_SOURCES})
	target_include_directories(gm_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
	target_link_libraries(gm_${name} PUBLIC ${ARG_LINK})
	gm_flags(gm_${name})
endfunction()

# gm_program(NAME SOURCES file... LINK target...)
function(gm_program name)
	cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
	add_executable(${name} ${ARG_SOURCES})
	target_link_libraries(${name} PRIVATE ${ARG_LINK})
	gm_flags(${name})
	target_link_options(${name} PRIVATE -pie)
endfunction()

# gm_man(PAGE.SECTION.scd): builds and installs a manual page where scdoc is there.
function(gm_man source)
	if(NOT SCDOC)
		return()
	endif()
	get_filename_component(page ${source} NAME_WLE)
	string(REGEX MATCH "[0-9]$" section ${page})
	add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/${page}
		COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
		COMMAND sh -c "'${SCDOC}' < '${CMAKE_CURRENT_SOURCE_DIR}/${source}' > '${CMAKE_BINARY_DIR}/man/${page}'"
		DEPENDS ${source} VERBATIM)
	add_custom_target(man-${page} ALL DEPENDS ${CMAKE_BINARY_DIR}/man/${page})
	install(FILES ${CMAKE_BINARY_DIR}/man/${page}
		DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endfunction()
