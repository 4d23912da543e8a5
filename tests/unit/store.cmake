# SPDX-License-Identifier: Apache-2.0
foreach(test t_book_marks t_book_restore t_page_bytes)
	gm_add_test(NAME ${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c LINK gm_core)
endforeach()
foreach(test t_store t_store_damage t_store_ranges)
	gm_add_test(NAME ${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c store_rig.c LINK gm_store)
endforeach()
target_compile_definitions(t_store_damage PRIVATE
	FIXTURES="${CMAKE_CURRENT_LIST_DIR}")
