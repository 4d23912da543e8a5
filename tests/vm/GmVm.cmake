# SPDX-License-Identifier: Apache-2.0
# Tests for the test machine (README.md beside this file). All of them share one boot, the test
# vm_machine; each has an entry of its own in ctest, which reads the machine's result.
#
# gm_add_vm_test(PROGRAM target): runs a test program there. The entry is vm_TARGET without the
#     "t_" it may start with.
# gm_add_vm_test(NAME name COMMAND word...): runs a command there. The words may be generator
#     expressions; a program's file there is where it is here.
#
# Further arguments of both:
#     TIMEOUT seconds    60 when not given; the machine is about ten times slower than the host
#     FILES file...      files and folders the test needs there, at the same place, besides
#                        ${build}/bin, ${build}/lib, ${build}/python, tests/integration and
#                        client/python, which are always there
#
# There is no network, no disk and no PCI bus. The test is root with all capabilities, in the root
# of cgroup v2 whose controllers are on; $GMEMD_BUILD is set, and $GMEMD_VM is 1. What it leaves
# behind is removed before the next one: processes, control groups without processes, hugepages,
# files below /tmp, /run and /dev/shm.
set(GM_VM_DIR ${CMAKE_CURRENT_LIST_DIR})
set(GM_VM_OUT ${CMAKE_BINARY_DIR}/vm)

function(gm_add_vm_test)
	cmake_parse_arguments(ARG "" "NAME;PROGRAM;TIMEOUT" "COMMAND;FILES" ${ARGN})
	if(ARG_UNPARSED_ARGUMENTS)
		message(FATAL_ERROR "gm_add_vm_test(${ARG_NAME}): ${ARG_UNPARSED_ARGUMENTS}?")
	endif()
	# Instrumented programs are too slow there, and their sanitizer is not there.
	if(GMEMD_SANITIZE)
		return()
	endif()
	if(ARG_PROGRAM)
		set(ARG_COMMAND $<TARGET_FILE:${ARG_PROGRAM}>)
		list(APPEND ARG_FILES $<TARGET_FILE:${ARG_PROGRAM}>)
		if(NOT ARG_NAME)
			string(REGEX REPLACE "^t_" "" ARG_NAME ${ARG_PROGRAM})
			string(PREPEND ARG_NAME vm_)
		endif()
	endif()
	if(NOT ARG_TIMEOUT)
		set(ARG_TIMEOUT 60)
	endif()
	list(JOIN ARG_COMMAND "' '" command)
	set_property(GLOBAL APPEND_STRING PROPERTY GM_VM_TESTS
		"${ARG_NAME} ${ARG_TIMEOUT} '${command}'\n")
	foreach(file ${ARG_FILES})
		set_property(GLOBAL APPEND_STRING PROPERTY GM_VM_FILES "${file}\n")
	endforeach()
	add_test(NAME ${ARG_NAME} COMMAND ${GM_VM_DIR}/result.sh ${GM_VM_OUT} ${ARG_NAME})
	gm_test_properties(${ARG_NAME} LABELS vm TIMEOUT 5)
	set_tests_properties(${ARG_NAME} PROPERTIES FIXTURES_REQUIRED vm_machine)
endfunction()

# gm_vm_finish(): once all tests are known.
function(gm_vm_finish)
	get_property(tests GLOBAL PROPERTY GM_VM_TESTS)
	get_property(files GLOBAL PROPERTY GM_VM_FILES)
	if(NOT tests)
		return()
	endif()
	file(GENERATE OUTPUT ${GM_VM_OUT}/tests CONTENT "${tests}")
	file(GENERATE OUTPUT ${GM_VM_OUT}/files CONTENT "${files}")
	add_test(NAME vm_machine COMMAND ${GM_VM_DIR}/run.sh --all ${CMAKE_BINARY_DIR})
	set(timeout 900)
	if(DEFINED ENV{GMEMD_LONG})
		set(timeout 6000)
	endif()
	gm_test_properties(vm_machine LABELS vm TIMEOUT ${timeout})
	set_tests_properties(vm_machine PROPERTIES FIXTURES_SETUP vm_machine RUN_SERIAL TRUE)
endfunction()
