# SPDX-License-Identifier: Apache-2.0
foreach(test t_page_cell t_page_map t_page_state t_ledger t_news)
	gm_add_test(NAME ${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c LINK gm_core)
endforeach()
