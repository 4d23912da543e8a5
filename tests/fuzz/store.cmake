# SPDX-License-Identifier: Apache-2.0
set(store_rig ${CMAKE_CURRENT_LIST_DIR}/../unit/store_rig.c)
gm_add_fuzz(NAME fz_store SOURCES fz_store.c ${store_rig} LINK gm_store)
foreach(target fz_store fz_store-live)
	if(TARGET ${target})
		target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../unit)
	endif()
endforeach()
