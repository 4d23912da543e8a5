# SPDX-License-Identifier: Apache-2.0
foreach(test t_bucket t_gm_hash t_policy t_book t_book_domain t_book_grant t_book_region t_book_job
	t_book_step t_book_order t_book_launch t_book_own_launch t_launch)
	gm_add_test(NAME ${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c LINK gm_core)
endforeach()
foreach(test t_conf t_conf_value)
	gm_add_test(NAME ${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c LINK gm_conf)
endforeach()
