# SPDX-License-Identifier: Apache-2.0
foreach(name worker spawner crew)
	gm_add_test(NAME t_${name}
		SOURCES t_${name}.c poll_loop.c worker_backends.c
		LINK gm_worker LABELS threads)
endforeach()
