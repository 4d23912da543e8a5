# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_loop SOURCES t_loop.c LINK gm_transport LABELS unit)
gm_add_test(NAME t_listener SOURCES t_listener.c LINK gm_transport LABELS unit)
