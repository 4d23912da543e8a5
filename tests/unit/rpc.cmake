# SPDX-License-Identifier: Apache-2.0

# The service on the fake backend, with crews that are not processes: they come before the real
# ones of gm_worker at link time.
add_library(gm_service_rig OBJECT service_rig.c fake_crew.c)
target_include_directories(gm_service_rig PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(gm_service_rig PUBLIC gm_rpc gm_backend_fake gm_harness)
gm_flags(gm_service_rig)

foreach(name t_service_session t_service_domain t_service_region t_service_job)
	gm_add_test(NAME ${name} SOURCES ${name}.c LINK gm_service_rig)
endforeach()
