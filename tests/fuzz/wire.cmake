# SPDX-License-Identifier: Apache-2.0
gm_add_fuzz(NAME fz_frame SOURCES fz_frame.c LINK gm_wire)
gm_add_fuzz(NAME fz_msg SOURCES fz_msg.c LINK gm_wire)
