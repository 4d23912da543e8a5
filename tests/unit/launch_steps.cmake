# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_launch_steps SOURCES ${CMAKE_CURRENT_LIST_DIR}/t_launch_steps.c
	LINK gm_launch_steps)
