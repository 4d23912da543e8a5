/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit as systemd reads it: its main file and its drop-ins, in the order in which they apply.
 * What `systemctl cat` shows, in its order.
 */
#ifndef GM_UNIT_H
#define GM_UNIT_H

#include "unit_text.h"
#include "unit_tree.h"

/* Bounds on what one unit may have. */
#define GM_UNIT_PARTS_MAX 512
#define GM_UNIT_BYTES_MAX ((size_t)4 << 20)

/* Room for a path, cut, and a reason. */
#define GM_UNIT_SAID_MAX 600

enum gm_unit_state {
	GM_UNIT_MISSING, /* no main file: its drop-ins count for nothing */
	GM_UNIT_MASKED,	 /* the main file is empty or a link to /dev/null: the same */
	GM_UNIT_LOADED,
};

/* One file; a mask is a file without text. */
struct gm_unit_part {
	char *path; /* as systemctl cat has it, without the root */
	char *text;
	size_t length;
};

struct gm_unit {
	enum gm_unit_state state;
	struct gm_unit_name name; /* by which it is loaded */
	char *fragment;		  /* path of the main file; NULL for GM_UNIT_MISSING */
	size_t n_parts;
	struct gm_unit_part *parts; /* the main file first */
};

/*
 * Reads the unit @id. 0; -EINVAL: something is there that cannot be read, and what, in @ret_said;
 * -ENOMEM. *ret_unit is written on success only.
 */
GM_WARN_UNUSED int gm_unit_load(const struct gm_unit_tree *tree, const char *id,
				struct gm_unit *ret_unit, char ret_said[GM_UNIT_SAID_MAX]);
void gm_unit_done(struct gm_unit *unit);

#endif
