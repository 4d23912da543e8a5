# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_loop SOURCES t_loop.c LINK gm_transport LABELS unit)
foreach(name accept receive send)
	gm_add_test(NAME t_listener_${name} SOURCES t_listener_${name}.c listener_rig.c
		LINK gm_transport LABELS unit)
endforeach()
