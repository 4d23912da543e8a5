# SPDX-License-Identifier: Apache-2.0
gm_add_test(NAME t_unit SOURCES ${CMAKE_CURRENT_LIST_DIR}/t_unit.c LINK gm_unit)
