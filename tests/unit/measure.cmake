# SPDX-License-Identifier: Apache-2.0
foreach(test t_launch_digest t_measure_mac t_vmsa t_firmware t_tdvf t_manifest)
	gm_add_test(NAME ${test} SOURCES ${CMAKE_CURRENT_LIST_DIR}/${test}.c
		${CMAKE_CURRENT_LIST_DIR}/firmware_image.c LINK gm_measure)
endforeach()
gm_add_test(NAME t_page_hash SOURCES ${CMAKE_CURRENT_LIST_DIR}/t_page_hash.c
	${CMAKE_CURRENT_LIST_DIR}/firmware_image.c LINK gm_measure LABELS threads)
