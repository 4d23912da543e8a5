# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_fd_store SOURCES t_fd_store.c LINK gm_sys LABELS unit)
