# SPDX-License-Identifier: Apache-2.0
set(fake_crew ${CMAKE_CURRENT_LIST_DIR}/../unit/fake_crew.c)
gm_add_fuzz(NAME fz_dispatch SOURCES fz_dispatch.c ${fake_crew} LINK gm_rpc gm_backend_fake)
foreach(target fz_dispatch fz_dispatch-live)
	if(TARGET ${target})
		target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../unit)
	endif()
endforeach()
