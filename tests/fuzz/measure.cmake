# SPDX-License-Identifier: Apache-2.0
gm_add_fuzz(NAME fz_firmware SOURCES ${CMAKE_CURRENT_LIST_DIR}/fz_firmware.c LINK gm_measure)
gm_add_fuzz(NAME fz_pages SOURCES ${CMAKE_CURRENT_LIST_DIR}/fz_pages.c LINK gm_measure_input)
