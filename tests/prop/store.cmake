# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME p_store
	SOURCES p_store.c store_kill.c ${CMAKE_CURRENT_LIST_DIR}/../unit/store_rig.c
	LINK gm_store LABELS prop TIMEOUT 240)
target_include_directories(p_store PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../unit
	${PROJECT_SOURCE_DIR}/daemon/store)
