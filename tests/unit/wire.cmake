# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_arena SOURCES t_arena.c LINK gm_base)
gm_add_test(NAME t_verdict SOURCES t_verdict.c LINK gm_base)
gm_add_test(NAME t_fd SOURCES t_fd.c LINK gm_base)
gm_add_test(NAME t_siphash SOURCES t_siphash.c LINK gm_base)
gm_add_test(NAME t_check SOURCES t_check.c LINK gm_wire)
gm_add_test(NAME t_frame SOURCES t_frame.c LINK gm_wire)
gm_add_test(NAME t_msg SOURCES t_msg.c LINK gm_wire)
gm_add_test(NAME t_scm SOURCES t_scm.c LINK gm_wire)
# Control data that no peer can make the kernel deliver.
target_link_options(t_scm PRIVATE -Wl,--wrap=recvmsg)
