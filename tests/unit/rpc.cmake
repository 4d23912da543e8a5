# SPDX-License-Identifier: Apache-2.0

# The service on the fake backend, with crews that are not processes: they come before the real
# ones of gm_worker at link time.
add_library(gm_service_rig OBJECT service_rig.c fake_crew.c)
target_include_directories(gm_service_rig PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(gm_service_rig PUBLIC gm_rpc gm_backend_fake gm_harness)
gm_flags(gm_service_rig)

foreach(name session slot domain region job look isolation memory watch stats policy step box convert converted in_place populate_in_place preallocate launch)
	gm_add_test(NAME t_service_${name} SOURCES t_service_${name}.c LINK gm_service_rig)
endforeach()
gm_add_test(NAME t_status SOURCES t_status.c LINK gm_rpc gm_backend_fake)
gm_add_test(NAME t_exec_late SOURCES t_exec_late.c fake_crew.c LINK gm_exec gm_backend_fake)
gm_add_test(NAME t_exec_room SOURCES t_exec_room.c fake_crew.c LINK gm_exec gm_backend_fake)
gm_add_test(NAME t_plan SOURCES t_plan.c fake_crew.c LINK gm_exec gm_backend_fake)
gm_add_test(NAME t_exec SOURCES t_exec.c fake_crew.c LINK gm_exec gm_backend_fake)

gm_add_test(NAME t_methods SOURCES ${CMAKE_CURRENT_LIST_DIR}/../wire/t_methods.c
	LINK gm_rpc gm_backend_fake)
target_compile_definitions(t_methods PRIVATE
	GOLDEN_FILE="${CMAKE_CURRENT_LIST_DIR}/../wire/methods.golden")

# Here as far as this host lets it, and in the test machine, which has CAP_SYS_RESOURCE, all of it.
gm_add_test(NAME t_memlock SOURCES t_memlock.c LINK gm_exec gm_backend_fake)
gm_add_vm_test(PROGRAM t_memlock)
