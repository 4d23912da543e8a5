# SPDX-License-Identifier: Apache-2.0
gm_add_fuzz(NAME fz_conf SOURCES ${CMAKE_CURRENT_LIST_DIR}/fz_conf.c LINK gm_conf)
