# SPDX-License-Identifier: Apache-2.0
foreach(test p_page_map p_ledger)
	gm_add_test(NAME ${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c LINK gm_core LABELS prop
		TIMEOUT 240)
endforeach()
