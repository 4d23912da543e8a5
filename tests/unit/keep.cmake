# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_fd_store SOURCES t_fd_store.c LINK gm_sys LABELS unit)
gm_add_test(NAME t_keep_parts SOURCES t_keep_parts.c LINK gm_keep LABELS unit)
gm_add_test(NAME t_keep SOURCES t_keep.c t_keep_child.c LINK gm_keep LABELS unit)
