# SPDX-License-Identifier: Apache-2.0

# The service on a real record, with memory for its files and an fd store that is an array.
foreach(name resume again restore memlock step_again converted_again in_place_again)
	gm_add_test(NAME t_service_${name}
		SOURCES t_service_${name}.c resume_rig.c
			${PROJECT_SOURCE_DIR}/daemon/main/guard.c
			${PROJECT_SOURCE_DIR}/daemon/main/record.c
			${PROJECT_SOURCE_DIR}/daemon/main/restore.c
		LINK gm_service_rig gm_store gm_sys)
	target_include_directories(t_service_${name} PRIVATE ${PROJECT_SOURCE_DIR}/daemon/main)
endforeach()

foreach(name resume again memlock)
	target_sources(t_service_${name} PRIVATE resume_case.c)
endforeach()
