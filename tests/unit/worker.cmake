# SPDX-License-Identifier: Apache-2.0
foreach(name worker spawner crew crew_dispose crew_receive charge)
	gm_add_test(NAME t_${name}
		SOURCES t_${name}.c poll_loop.c worker_backends.c
		LINK gm_worker LABELS threads)
endforeach()
foreach(name crew crew_dispose crew_receive charge)
	target_sources(t_${name} PRIVATE crew_rig.c)
endforeach()
gm_add_test(NAME t_worker_digest SOURCES t_worker_digest.c worker_backends.c
	LINK gm_worker gm_measure LABELS threads)
gm_add_test(NAME t_worker_convert SOURCES t_worker_convert.c worker_backends.c LINK gm_worker)
