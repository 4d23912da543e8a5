# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME p_page_map SOURCES ${CMAKE_CURRENT_LIST_DIR}/p_page_map.c LINK gm_core LABELS prop)
