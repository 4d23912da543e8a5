# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME p_book SOURCES ${CMAKE_CURRENT_LIST_DIR}/p_book.c
	${CMAKE_CURRENT_LIST_DIR}/book_model.c LINK gm_core LABELS prop
	TIMEOUT 120)
gm_add_test(NAME p_convert SOURCES ${CMAKE_CURRENT_LIST_DIR}/p_convert.c LINK gm_core LABELS prop
	TIMEOUT 120)
gm_add_test(NAME p_order SOURCES ${CMAKE_CURRENT_LIST_DIR}/p_order.c LINK gm_core LABELS prop
	TIMEOUT 120)
