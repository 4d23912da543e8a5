# SPDX-License-Identifier: Apache-2.0
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

set(GM_TEST_DIR ${CMAKE_BINARY_DIR}/tests)

# gm_add_test(NAME name SOURCES file... LINK layer... [LABELS label...] [TIMEOUT seconds]):
# a cmocka program in ${GM_TEST_DIR} and its ctest entry.
function(gm_add_test)
	cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;LINK;LABELS" ${ARGN})
	if(ARG_UNPARSED_ARGUMENTS)
		message(FATAL_ERROR "gm_add_test(${ARG_NAME}): ${ARG_UNPARSED_ARGUMENTS}?")
	endif()
	add_executable(${ARG_NAME} ${ARG_SOURCES})
	target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LINK} gm_harness)
	gm_flags(${ARG_NAME})
	set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${GM_TEST_DIR})
	add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
	gm_test_properties(${ARG_NAME} LABELS ${ARG_LABELS} TIMEOUT ${ARG_TIMEOUT})
endfunction()

# gm_add_script_test(NAME name COMMAND word... [LABELS label...] [TIMEOUT seconds])
function(gm_add_script_test)
	cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "COMMAND;LABELS" ${ARGN})
	add_test(NAME ${ARG_NAME} COMMAND ${ARG_COMMAND})
	gm_test_properties(${ARG_NAME} LABELS ${ARG_LABELS} TIMEOUT ${ARG_TIMEOUT})
endfunction()

function(gm_test_properties name)
	cmake_parse_arguments(ARG "" "TIMEOUT" "LABELS" ${ARGN})
	if(NOT ARG_TIMEOUT)
		set(ARG_TIMEOUT 60)
	endif()
	set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${ARG_TIMEOUT})
	if(ARG_LABELS)
		set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}")
	endif()
endfunction()
